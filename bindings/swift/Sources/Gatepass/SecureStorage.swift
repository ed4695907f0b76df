// Where sessions are kept: what is built in, and storage of an app's own.

import Foundation
internal import GatepassCore

/// Where sessions are kept.
public struct SessionStorage: Sendable {
    let ffi: FfiStorage

    /// In memory: sessions end with the process, or with the ``Gatepass`` that they belong to.
    public static var memory: SessionStorage { SessionStorage(ffi: .memory) }

    /// For machines without a keychain: encrypted files (XChaCha20-Poly1305) in a directory. Opening them blocks for some
    /// 100 ms where the key is a passphrase.
    public static func encryptedFiles(in directory: URL, key: FileKey) -> SessionStorage {
        SessionStorage(ffi: .encryptedFile(directory: directory.path, key: key.ffi))
    }

    /// In storage of the app's own.
    public static func custom(_ storage: any SecureStorage) -> SessionStorage {
        SessionStorage(ffi: .platform(storage: ForeignStorage(storage)))
    }

    #if canImport(Security)
        /// In the Keychain, for this device alone, readable from the first unlock after a start on, so that background work
        /// finds it: see ``KeychainStorage``.
        ///
        /// - Parameters:
        ///   - service: Tells the app's own clients apart, where there are several.
        ///   - accessGroup: The keychain access group that app and extensions share, with its prefix:
        ///     `ABCDE12345.com.example.shared`. Without one the app's own.
        public static func keychain(service: String = "gatepass", accessGroup: String? = nil) -> SessionStorage {
            .custom(KeychainStorage(service: service, accessGroup: accessGroup))
        }

        static var platformDefault: SessionStorage { .keychain() }
    #else
        /// Encrypted files in `directory`, or else in the user's data directory, whose key is in the Secret Service of the
        /// desktop. A keychain that is locked or does not answer is ``GatepassError/Kind/storageLocked``: nothing is lost.
        /// Where there is none, every call fails and says so; nothing falls back to anything.
        ///
        /// - Parameter appID: Tells apps apart: a name of your own in reverse, `com.example.my-app`.
        public static func keychain(appID: String, directory: URL? = nil) -> SessionStorage {
            SessionStorage(ffi: .keychain(appId: appID, directory: directory?.path))
        }

        static var platformDefault: SessionStorage { .memory }
    #endif
}

/// The key of encrypted files. Does not print.
public struct FileKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    let ffi: FfiFileKey

    /// A passphrase that a person types or an operator provides (Argon2id, RFC 9106 §4).
    public static func passphrase(_ text: String) -> FileKey { FileKey(ffi: .passphrase(text: text)) }

    /// 32 random bytes that the app keeps elsewhere.
    public static func bytes(_ bytes: Data) -> FileKey { FileKey(ffi: .bytes(bytes: bytes)) }

    /// A key in a file beside the records. **Whoever can read the directory can read the sessions.**
    public static var besideTheRecords: FileKey { FileKey(ffi: .besideTheRecords) }

    /// Never the key.
    public var description: String { "FileKey(redacted)" }

    /// Never the key.
    public var debugDescription: String { description }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Records that survive the process, changed only by whoever saw the latest. For storage of an app's own.
///
/// - No record is `nil`. Locked, unreadable or broken storage throws ``StorageFailure``: "no session" is never guessed.
/// - `commit` and `remove` act only if the record is still at the expected generation (0: does not exist), atomically against
///   every other thread and process, and answer ``CommitOutcome/committed(generation:)`` only once the change is durable.
///   After a crash at any instant the record is the old one or the new one.
/// - A generation starts at 1, rises with each write, and never repeats for a key, removal included.
/// - A record that can never be read again is ``StorageFailure/lost`` to whoever reads it, and stands at 0 to whoever writes it.
/// - Called from threads of the core's own, never from the caller's: it may block, and must not ask the user.
/// - Keys are lower-case letters, digits, `.`, `-` and `_`, at most 120 characters. The bytes are secret: a storage that keeps
///   them outside memory encrypts them.
///
/// An error of any other type counts as ``StorageFailure/failed``, and its text is shown nowhere.
public protocol SecureStorage: Sendable {
    /// Names the place of the records: the same text for every storage object in this process that reaches the same ones,
    /// another for every other. Constant, no I/O.
    var place: String { get }

    /// Names the device that the records are on, where a copy of them can come to another one, by a backup for example. `nil`
    /// where they cannot, or nobody can tell, which is what there is unless it is written. Constant, no I/O.
    var device: String? { get }

    /// Reads one record.
    func load(_ key: String) throws -> StoredRecord?

    /// Writes one record if it is still at the expected generation.
    func commit(_ key: String, expected: UInt64, bytes: Data) throws -> CommitOutcome

    /// Removes one record if it is still at the expected generation.
    func remove(_ key: String, expected: UInt64) throws -> CommitOutcome

    /// The names of the records that exist and begin with this.
    func list(prefix: String) throws -> [String]

    /// Sees to it that the next commit of up to so many bytes to this record finds room, also if the disk is full by then.
    /// Nothing is done unless it is written: right for storage that never is the first to be full.
    func reserve(_ key: String, bytes: UInt64) throws
}

extension SecureStorage {
    /// `nil`.
    public var device: String? { nil }

    /// Does nothing.
    public func reserve(_: String, bytes _: UInt64) throws {}
}

/// A record as it was read. It is secret, and does not print.
public struct StoredRecord: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Its content.
    public let bytes: Data
    /// Which write it is from.
    public let generation: UInt64

    /// A record from its parts.
    public init(bytes: Data, generation: UInt64) {
        self.bytes = bytes
        self.generation = generation
    }

    /// How long it is, and never its content.
    public var description: String { "StoredRecord(\(bytes.count) bytes, generation \(generation))" }

    /// As ``description``.
    public var debugDescription: String { description }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }

    var ffi: FfiStored { FfiStored(bytes: bytes, generation: generation) }
}

/// What came of a conditional write.
public enum CommitOutcome: Sendable, Hashable {
    /// Durable. The record, or its memory, now has this generation.
    case committed(generation: UInt64)
    /// Nothing was written: the record is not at the expected generation, but this, or gone.
    case conflict(current: StoredRecord?)

    var ffi: FfiCommitOutcome {
        switch self {
        case .committed(let generation): .committed(generation: generation)
        case .conflict(let current): .conflict(current: current?.ffi)
        }
    }
}

/// Why storage did not answer. It holds no text: what a platform says may quote what was stored.
public enum StorageFailure: Error, Sendable, Hashable {
    /// Locked for now. Nothing is lost.
    case locked
    /// What was stored is gone or cannot be read any more, for good.
    case lost
    /// Anything else, the full disk included.
    case failed
}

/// The core's port, by way of the app's.
final class ForeignStorage: FfiSecureStorage, Sendable {
    private let storage: any SecureStorage

    init(_ storage: any SecureStorage) {
        self.storage = storage
    }

    func load(key: String) throws -> FfiStored? { try asking { try storage.load(key)?.ffi } }

    func commit(key: String, expected: UInt64, bytes: Data) throws -> FfiCommitOutcome {
        try asking { try storage.commit(key, expected: expected, bytes: bytes).ffi }
    }

    func remove(key: String, expected: UInt64) throws -> FfiCommitOutcome {
        try asking { try storage.remove(key, expected: expected).ffi }
    }

    func list(prefix: String) throws -> [String] { try asking { try storage.list(prefix: prefix) } }

    func reserve(key: String, bytes: UInt64) throws { try asking { try storage.reserve(key, bytes: bytes) } }

    func device() -> String? { storage.device }

    func place() -> String { storage.place }

    private func asking<Value>(_ ask: () throws -> Value) throws -> Value {
        do {
            return try ask()
        } catch let failure as StorageFailure {
            switch failure {
            case .locked: throw FfiStorageFailure.Locked
            case .lost: throw FfiStorageFailure.Lost
            case .failed: throw FfiStorageFailure.Failed
            }
        } catch {
            throw FfiStorageFailure.Unexpected
        }
    }
}
