// The Keychain of Apple's systems.

#if canImport(Security)
    import Foundation
    import Security

    /// Sessions in the Keychain, each record one item: what Apple's systems use unless ``GatepassConfig/storage`` says
    /// otherwise.
    ///
    /// - `kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly`: background work finds a session while the device is locked, and
    ///   no copy of it ever comes to another device. Before the first unlock after a start it is locked: calls end as
    ///   ``GatepassError/Kind/storageLocked``, and nobody is signed out.
    /// - Items stay when the app is deleted, and a new installation finds the session again. An app that does not want that
    ///   calls ``Gatepass/forgetEverything()`` at its first start.
    /// - Items are changed in place, never deleted and made anew.
    ///
    /// An app and its extensions that name the same access group share the sessions. Each write is conditional; no lock is held
    /// between processes, so let one of them refresh: two that do so at the same moment may both send the refresh token.
    public struct KeychainStorage: SecureStorage {
        private let records: KeychainRecords

        /// Names the service and the access group.
        public let place: String

        /// The Keychain.
        ///
        /// - Parameters:
        ///   - service: Tells the app's own clients apart, where there are several.
        ///   - accessGroup: The keychain access group that app and extensions share, with its prefix.
        public init(service: String = "gatepass", accessGroup: String? = nil) {
            records = KeychainRecords(calls: SecurityCalls(service: service, accessGroup: accessGroup))
            place = "keychain:\(accessGroup ?? ""):\(service)"
        }

        /// Reads one record.
        public func load(_ key: String) throws -> StoredRecord? { try records.load(key) }

        /// Writes one record if it is still at the expected generation.
        public func commit(_ key: String, expected: UInt64, bytes: Data) throws -> CommitOutcome {
            try records.commit(key, expected: expected, bytes: bytes)
        }

        /// Removes one record if it is still at the expected generation.
        public func remove(_ key: String, expected: UInt64) throws -> CommitOutcome {
            try records.remove(key, expected: expected)
        }

        /// The names of the records that exist and begin with this.
        public func list(prefix: String) throws -> [String] { try records.list(prefix: prefix) }
    }

    private struct SecurityCalls: KeychainCalls {
        let service: String
        let accessGroup: String?

        func copy(_ account: String) -> (Int32, KeychainItem?) {
            var query = identity(account)
            query[kSecReturnAttributes] = true
            query[kSecReturnData] = true
            query[kSecMatchLimit] = kSecMatchLimitOne
            var found: CFTypeRef?
            let status = SecItemCopyMatching(query as CFDictionary, &found)
            return (status, (found as? [CFString: Any]).flatMap(item))
        }

        func copyAll() -> (Int32, [KeychainItem]) {
            var query = identity(nil)
            query[kSecReturnAttributes] = true
            query[kSecMatchLimit] = kSecMatchLimitAll
            var found: CFTypeRef?
            let status = SecItemCopyMatching(query as CFDictionary, &found)
            return (status, (found as? [[CFString: Any]] ?? []).compactMap(item))
        }

        func add(_ item: KeychainItem) -> Int32 {
            let all = identity(item.account).merging(content(item)) { _, new in new }
            return SecItemAdd(all as CFDictionary, nil)
        }

        func update(_ account: String, marked: String, to item: KeychainItem) -> Int32 {
            var query = identity(account)
            query[kSecAttrGeneric] = Data(marked.utf8)
            return SecItemUpdate(query as CFDictionary, content(item) as CFDictionary)
        }

        private func identity(_ account: String?) -> [CFString: Any] {
            var query: [CFString: Any] = [
                kSecClass: kSecClassGenericPassword,
                kSecAttrService: service,
                // The one keychain that iOS has, on macOS too: the other there knows neither access groups nor this
                // accessibility.
                kSecUseDataProtectionKeychain: true,
            ]
            if let account { query[kSecAttrAccount] = account }
            if let accessGroup { query[kSecAttrAccessGroup] = accessGroup }
            return query
        }

        /// The accessibility is written each time: an item that an earlier version made with another one is mended.
        private func content(_ item: KeychainItem) -> [CFString: Any] {
            [
                kSecAttrGeneric: Data(item.mark.utf8),
                kSecValueData: item.data ?? Data(),
                kSecAttrAccessible: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
        }

        private func item(_ attributes: [CFString: Any]) -> KeychainItem? {
            guard let account = attributes[kSecAttrAccount] as? String else { return nil }
            let mark = (attributes[kSecAttrGeneric] as? Data).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return KeychainItem(account: account, mark: mark, data: attributes[kSecValueData] as? Data)
        }
    }
#endif
