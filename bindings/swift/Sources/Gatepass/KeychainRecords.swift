// Records in a keychain: conditional writes by what a keychain can do at once. The calls themselves are at a seam.

import Foundation

/// What the keychain holds of one record.
struct KeychainItem: Sendable, Hashable {
    /// The record's name.
    var account: String
    /// Its generation, and whether it is but the memory of one that was removed: `7` or `7 removed`.
    var mark: String
    /// Its content; absent where only the mark was asked for.
    var data: Data?
}

/// The calls of the Security framework. Each answers with an `OSStatus`.
protocol KeychainCalls: Sendable {
    /// `SecItemCopyMatching`, for one item.
    func copy(_ account: String) -> (Int32, KeychainItem?)
    /// `SecItemCopyMatching`, for the marks of all.
    func copyAll() -> (Int32, [KeychainItem])
    /// `SecItemAdd`.
    func add(_ item: KeychainItem) -> Int32
    /// `SecItemUpdate` of the item with this account **and this mark**: the keychain finds and changes it in one transaction.
    func update(_ account: String, marked: String, to item: KeychainItem) -> Int32
}

/// Secure storage over a keychain, to the contract of the core.
///
/// A keychain knows no conditional write, but two things come close: an item can be added once only, and an update finds its
/// item by an attribute. So the generation is an attribute, and an update of "the item at generation 7" finds none once another
/// process has written. A removed record leaves an empty item behind, so that no generation comes twice.
struct KeychainRecords: Sendable {
    let calls: any KeychainCalls

    static let success: Int32 = 0
    /// `errSecItemNotFound`
    static let notFound: Int32 = -25_300
    /// `errSecDuplicateItem`
    static let duplicate: Int32 = -25_299
    /// `errSecInteractionNotAllowed`: before the first unlock after a start. Temporary.
    static let interactionNotAllowed: Int32 = -25_308
    /// `errSecNotAvailable`: no keychain to be had now. Temporary.
    static let notAvailable: Int32 = -25_291
    /// `errSecDecode`: the item cannot be read any more.
    static let decode: Int32 = -26_275

    func load(_ key: String) throws -> StoredRecord? {
        guard let (item, mark) = try read(key), !mark.isRemoved else { return nil }
        guard let data = item.data else { throw StorageFailure.failed }
        return StoredRecord(bytes: data, generation: mark.generation)
    }

    func commit(_ key: String, expected: UInt64, bytes: Data) throws -> CommitOutcome {
        try change(key, expected: expected, to: bytes)
    }

    func remove(_ key: String, expected: UInt64) throws -> CommitOutcome {
        try change(key, expected: expected, to: nil)
    }

    func list(prefix: String) throws -> [String] {
        let (status, items) = calls.copyAll()
        if status == Self.notFound { return [] }
        try check(status)
        return items.filter { $0.account.hasPrefix(prefix) && Mark($0.mark)?.isRemoved == false }.map(\.account)
    }

    private func change(_ key: String, expected: UInt64, to bytes: Data?) throws -> CommitOutcome {
        // Each round ends it, unless another process wrote between its two calls: nobody loses a dozen of those.
        for _ in 0..<12 {
            let found: (item: KeychainItem, mark: Mark)?
            do {
                found = try read(key)
            } catch StorageFailure.lost {
                // To whoever writes, a record that cannot be read stands at 0. Its mark can still be.
                found = try mark(of: key)
            }
            guard let found else {
                guard expected == 0 else { return .conflict(current: nil) }
                let new = KeychainItem(account: key, mark: Mark(1, removed: bytes == nil).text, data: bytes ?? Data())
                let status = calls.add(new)
                if status == Self.duplicate { continue }
                try check(status)
                return .committed(generation: 1)
            }
            let current = found.mark.isRemoved ? nil : found.item.data.map {
                StoredRecord(bytes: $0, generation: found.mark.generation)
            }
            guard (current?.generation ?? 0) == expected else { return .conflict(current: current) }
            let next = Mark(found.mark.generation + 1, removed: bytes == nil)
            let status = calls.update(
                key, marked: found.item.mark, to: KeychainItem(account: key, mark: next.text, data: bytes ?? Data())
            )
            if status == Self.notFound { continue }
            try check(status)
            return .committed(generation: next.generation)
        }
        throw StorageFailure.failed
    }

    private func read(_ key: String) throws -> (item: KeychainItem, mark: Mark)? {
        let (status, item) = calls.copy(key)
        if status == Self.notFound { return nil }
        try check(status)
        guard let item else { throw StorageFailure.failed }
        // Another app of the same access group wrote under our name, or a later version of this: not ours to guess at.
        guard let mark = Mark(item.mark) else { throw StorageFailure.failed }
        return (item, mark)
    }

    /// Without the content, which cannot be read.
    private func mark(of key: String) throws -> (item: KeychainItem, mark: Mark)? {
        let (status, items) = calls.copyAll()
        if status == Self.notFound { return nil }
        try check(status)
        guard var item = items.first(where: { $0.account == key }) else { return nil }
        guard let mark = Mark(item.mark) else { throw StorageFailure.failed }
        item.data = nil
        return (item, mark)
    }

    private func check(_ status: Int32) throws {
        switch status {
        case Self.success: return
        case Self.interactionNotAllowed, Self.notAvailable: throw StorageFailure.locked
        case Self.decode: throw StorageFailure.lost
        default: throw StorageFailure.failed
        }
    }

    /// A generation as it is written down.
    private struct Mark {
        let generation: UInt64
        let isRemoved: Bool

        init(_ generation: UInt64, removed: Bool) {
            self.generation = generation
            isRemoved = removed
        }

        init?(_ text: String) {
            let parts = text.split(separator: " ", maxSplits: 1)
            guard let first = parts.first, let generation = UInt64(first), generation > 0, generation < .max,
                parts.count == 1 || parts[1] == "removed"
            else { return nil }
            self.init(generation, removed: parts.count == 2)
        }

        var text: String { isRemoved ? "\(generation) removed" : "\(generation)" }
    }
}
