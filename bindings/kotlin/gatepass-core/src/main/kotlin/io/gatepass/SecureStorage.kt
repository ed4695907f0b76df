// Where sessions are kept: what is built in, and storage of an app's own.

package io.gatepass

import io.gatepass.ffi.FfiCommitOutcome
import io.gatepass.ffi.FfiFileKey
import io.gatepass.ffi.FfiKeyWrap
import io.gatepass.ffi.FfiSecureStorage
import io.gatepass.ffi.FfiStorage
import io.gatepass.ffi.FfiStorageFailure
import io.gatepass.ffi.FfiStored

/** Where sessions are kept. */
public class SessionStorage internal constructor(internal val ffi: FfiStorage) {
    /** What there is. */
    public companion object {
        /**
         * For desktops: encrypted files (XChaCha20-Poly1305) in [directory], or else in the user's data directory, whose key
         * is in the keychain of the system: the Secret Service of Linux and BSD desktops, the login keychain of macOS, the
         * credential store of Windows. A keychain that is locked or does not answer is
         * [GatepassException.StorageLocked]: nothing is lost. Where there is none, every call fails and says so; nothing
         * falls back to anything.
         *
         * [appId] tells apps apart: a name of your own in reverse, `com.example.my-app`.
         */
        @JvmStatic
        @JvmOverloads
        public fun keychain(appId: String, directory: String? = null): SessionStorage =
            SessionStorage(FfiStorage.Keychain(appId, directory))

        /**
         * For machines without a keychain: encrypted files in a directory. Opening them blocks for some 100 ms where the key
         * is a passphrase.
         */
        @JvmStatic
        public fun encryptedFiles(directory: String, key: FileKey): SessionStorage =
            SessionStorage(FfiStorage.EncryptedFile(directory, key.ffi))

        /** In sealed files in a directory, whose key is wrapped by the platform's keystore. Does no I/O before the first use. */
        @GatepassPlatformApi
        public fun wrapped(directory: String, wrap: KeyWrap): SessionStorage =
            SessionStorage(FfiStorage.PlatformKey(directory, ForeignKeyWrap(wrap)))

        /** In memory: sessions end with the process, or with the [Gatepass] that they belong to. */
        @JvmStatic
        public fun memory(): SessionStorage = SessionStorage(FfiStorage.Memory)

        /** In storage of the app's own. */
        @JvmStatic
        public fun of(storage: SecureStorage): SessionStorage =
            SessionStorage(FfiStorage.Platform(ForeignStorage(storage)))
    }
}

/** The key of encrypted files. Does not print. */
public class FileKey internal constructor(internal val ffi: FfiFileKey) {
    /** What there is. */
    public companion object {
        /** A passphrase that a person types or an operator provides (Argon2id, RFC 9106 §4). */
        @JvmStatic
        public fun passphrase(text: String): FileKey = FileKey(FfiFileKey.Passphrase(text))

        /** 32 random bytes that the app keeps elsewhere. */
        @JvmStatic
        public fun bytes(bytes: ByteArray): FileKey = FileKey(FfiFileKey.Bytes(bytes.copyOf()))

        /** A key in a file beside the records. **Whoever can read the directory can read the sessions.** */
        @JvmStatic
        public fun besideTheRecords(): FileKey = FileKey(FfiFileKey.BesideTheRecords)
    }

    override fun toString(): String = "FileKey(redacted)"
}

/**
 * Records that survive the process, changed only by whoever saw the latest. For storage of an app's own.
 *
 * - No record is `null`. Locked, unreadable or broken storage throws [StorageFailure]: "no session" is never guessed.
 * - [commit] and [remove] act only if the record is still at the expected generation (0: does not exist), atomically
 *   against every other thread and process, and answer [CommitOutcome.Committed] only once the change is durable. After a
 *   crash at any instant the record is the old one or the new one.
 * - A generation starts at 1, rises with each write, and never repeats for a key, removal included.
 * - A record that can never be read again is [StorageFailure.Reason.LOST] to whoever reads it, and stands at 0 to whoever
 *   writes it.
 * - Called from threads of the core's own, never from the caller's: it may block, and must not ask the user.
 * - Keys are lower-case letters, digits, `.`, `-` and `_`, at most 120 characters. The bytes are secret: a storage that
 *   keeps them outside memory encrypts them.
 *
 * An exception of any other type counts as [StorageFailure.Reason.FAILED], and its text is shown nowhere.
 */
public interface SecureStorage {
    /**
     * Names the place of the records: the same text for every storage object in this process that reaches the same ones,
     * another for every other. Constant, no I/O.
     */
    public val place: String

    /**
     * Names the device that the records are on, where a copy of them can come to another one, by a backup for example.
     * `null` where they cannot, or nobody can tell. Constant, no I/O.
     */
    public val device: String?
        get() = null

    /** Reads one record. */
    public fun load(key: String): StoredRecord?

    /** Writes one record if it is still at the expected generation. */
    public fun commit(key: String, expected: Long, bytes: ByteArray): CommitOutcome

    /** Removes one record if it is still at the expected generation. */
    public fun remove(key: String, expected: Long): CommitOutcome

    /** The names of the records that exist and begin with this. */
    public fun list(prefix: String): List<String>

    /**
     * Sees to it that the next commit of up to so many bytes to this record finds room, also if the disk is full by then.
     * Nothing to do where storage never is the first to be full.
     */
    public fun reserve(key: String, bytes: Long) {
    }
}

/** A record as it was read. It is secret, and does not print. */
public class StoredRecord(
    /** Its content. */
    public val bytes: ByteArray,
    /** Which write it is from. */
    public val generation: Long,
) {
    override fun toString(): String = "StoredRecord(${bytes.size} bytes, generation $generation)"
}

/** What came of a conditional write. */
public sealed class CommitOutcome {
    /** Durable. The record, or its memory, now has this generation. */
    public class Committed(
        /** The new generation. */
        public val generation: Long,
    ) : CommitOutcome()

    /** Nothing was written: the record is not at the expected generation. */
    public class Conflict(
        /** What it is now. */
        public val current: StoredRecord?,
    ) : CommitOutcome()
}

/** Why storage did not answer. It holds no text: what a platform says may quote what was stored. */
public class StorageFailure(
    /** What it was. */
    public val reason: Reason,
) : Exception(reason.name) {
    /** What it was. */
    public enum class Reason {
        /** Locked for now. Nothing is lost. */
        LOCKED,

        /** What was stored is gone or cannot be read any more, for good. */
        LOST,

        /** Anything else, the full disk included. */
        FAILED,
    }
}

/**
 * Wraps and unwraps a key of 32 bytes with one that never leaves the platform's keystore. Called from threads of the core's
 * own: it may block, and must not ask the user.
 *
 * [StorageFailure.Reason.LOST] gives up what was wrapped: only where the key of the keystore is gone for good, or is another
 * one. A keystore that is locked throws [StorageFailure.Reason.LOCKED]; any other exception counts as
 * [StorageFailure.Reason.FAILED], and is tried again.
 */
@GatepassPlatformApi
public interface KeyWrap {
    /** Wraps a key; makes the wrapping key where there is none, or none that still works. */
    public fun wrap(key: ByteArray): ByteArray

    /** Unwraps it. */
    public fun unwrap(wrapped: ByteArray): ByteArray
}

/** The core's port, by way of the platform's keystore. */
internal class ForeignKeyWrap(private val wrap: KeyWrap) : FfiKeyWrap {
    override fun wrap(key: ByteArray): ByteArray = asking { wrap.wrap(key) }

    override fun unwrapKey(wrapped: ByteArray): ByteArray = asking { wrap.unwrap(wrapped) }
}

/** The core's port, by way of the app's. */
internal class ForeignStorage(private val storage: SecureStorage) : FfiSecureStorage {
    override fun load(key: String): FfiStored? = asking { storage.load(key)?.toFfi() }

    override fun commit(key: String, expected: ULong, bytes: ByteArray): FfiCommitOutcome =
        asking { storage.commit(key, expected.toLong(), bytes).toFfi() }

    override fun remove(key: String, expected: ULong): FfiCommitOutcome =
        asking { storage.remove(key, expected.toLong()).toFfi() }

    override fun list(prefix: String): List<String> = asking { storage.list(prefix) }

    override fun reserve(key: String, bytes: ULong): Unit = asking { storage.reserve(key, bytes.toLong()) }

    override fun device(): String? = asking { storage.device }

    override fun place(): String = asking { storage.place }
}

private inline fun <T> asking(ask: () -> T): T = try {
    ask()
} catch (e: StorageFailure) {
    throw when (e.reason) {
        StorageFailure.Reason.LOCKED -> FfiStorageFailure.Locked()
        StorageFailure.Reason.LOST -> FfiStorageFailure.Lost()
        StorageFailure.Reason.FAILED -> FfiStorageFailure.Failed()
    }
} catch (e: Throwable) {
    // An Error too, which the generated code does not catch.
    throw FfiStorageFailure.Unexpected()
}

private fun StoredRecord.toFfi() = FfiStored(bytes, generation.toULong())

private fun CommitOutcome.toFfi(): FfiCommitOutcome = when (this) {
    is CommitOutcome.Committed -> FfiCommitOutcome.Committed(generation.toULong())
    is CommitOutcome.Conflict -> FfiCommitOutcome.Conflict(current?.toFfi())
}
