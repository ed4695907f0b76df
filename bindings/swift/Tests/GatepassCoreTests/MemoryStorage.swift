// Secure storage in memory, to the contract of the core: conditional commits, generations that never repeat.

import Foundation
import GatepassCore

final class MemoryStorage: FfiSecureStorage, @unchecked Sendable {
    /// A record, or the memory of one: `bytes` is nil once it is removed, and its generation stays.
    private struct Slot {
        var bytes: Data?
        var generation: UInt64

        var stored: FfiStored? {
            bytes.map { FfiStored(bytes: $0, generation: generation) }
        }
    }

    // Every access is under this lock: hence @unchecked.
    private let lock = NSLock()
    private var slots: [String: Slot] = [:]

    func load(key: String) -> FfiStored? {
        lock.withLock { slots[key]?.stored }
    }

    func commit(key: String, expected: UInt64, bytes: Data) -> FfiCommitOutcome {
        change(key, expected, bytes)
    }

    func remove(key: String, expected: UInt64) -> FfiCommitOutcome {
        change(key, expected, nil)
    }

    func list(prefix: String) -> [String] {
        lock.withLock { slots.filter { $0.key.hasPrefix(prefix) && $0.value.bytes != nil }.map(\.key) }
    }

    func reserve(key: String, bytes: UInt64) {}

    func device() -> String? { nil }

    func place() -> String {
        "memory@\(ObjectIdentifier(self))"
    }

    private func change(_ key: String, _ expected: UInt64, _ bytes: Data?) -> FfiCommitOutcome {
        lock.withLock {
            let current = slots[key]?.stored
            guard (current?.generation ?? 0) == expected else { return .conflict(current: current) }
            let generation = (slots[key]?.generation ?? 0) + 1
            slots[key] = Slot(bytes: bytes, generation: generation)
            return .committed(generation: generation)
        }
    }
}
