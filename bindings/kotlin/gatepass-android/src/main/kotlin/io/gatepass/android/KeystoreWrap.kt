// The key of what is stored, wrapped by one in the Android Keystore. What the keystore's exceptions mean is decided here.

package io.gatepass.android

import io.gatepass.KeyWrap
import io.gatepass.StorageFailure
import java.security.GeneralSecurityException
import javax.crypto.AEADBadTagException
import javax.crypto.Cipher
import javax.crypto.SecretKey
import javax.crypto.spec.GCMParameterSpec

/** A place for one AES key that cannot be taken out. Every call may block, and may throw anything. */
internal interface KeyPlace {
    /** Whether the user has unlocked the device since it started: before that no key of an app is there. */
    fun isUnlocked(): Boolean

    /** The key; `null` if there is none, as far as the platform says. */
    fun find(): SecretKey?

    /** Makes the key, in place of one that is there. */
    fun make(): SecretKey

    /** What the platform says of an exception of its own. */
    fun verdict(e: Throwable): Verdict
}

/** What an exception of a keystore means. */
internal enum class Verdict {
    /** The key is gone for good. */
    GONE,

    /** It can be had, but not now. */
    LOCKED,

    /** Nobody knows; most of these pass. */
    UNKNOWN,
}

/**
 * Wraps by AES-256-GCM (NIST SP 800-38D), whose nonce the keystore draws.
 *
 * Keystores fail now and then without meaning it, above all just after the device was started. So what is not certain is
 * tried again for two seconds, and then [StorageFailure.Reason.FAILED]: only a key that certainly is gone is given up.
 */
internal class KeystoreWrap(
    private val place: KeyPlace,
    private val pause: (Long) -> Unit = Thread::sleep,
    private val offMainThread: () -> Unit = {},
) : KeyWrap {
    override fun wrap(key: ByteArray): ByteArray = patiently { last ->
        // One that is there and does not work is replaced, but not at its first trouble.
        val wrapping = synchronized(MAKING) {
            val found = try {
                place.find()
            } catch (e: Exception) {
                if (last || meaning(e) == Verdict.GONE) null else throw e
            }
            found ?: place.make()
        }
        val cipher = Cipher.getInstance(TRANSFORMATION)
        try {
            cipher.init(Cipher.ENCRYPT_MODE, wrapping)
        } catch (e: GeneralSecurityException) {
            if (meaning(e) != Verdict.GONE) throw e
            cipher.init(Cipher.ENCRYPT_MODE, synchronized(MAKING) { place.make() })
        }
        val sealed = cipher.doFinal(key)
        byteArrayOf(FORMAT, cipher.iv.size.toByte()) + cipher.iv + sealed
    }

    override fun unwrap(wrapped: ByteArray): ByteArray {
        val parts = Parts.of(wrapped) ?: throw StorageFailure(StorageFailure.Reason.LOST)
        return patiently { last ->
            // Before Android 12 a keystore that cannot be reached says that there is no key, too.
            val wrapping = place.find() ?: throw if (last) StorageFailure(StorageFailure.Reason.LOST) else NotFound()
            val cipher = Cipher.getInstance(TRANSFORMATION)
            cipher.init(Cipher.DECRYPT_MODE, wrapping, GCMParameterSpec(128, parts.nonce))
            cipher.doFinal(parts.sealed)
        }
    }

    private fun <T> patiently(ask: (last: Boolean) -> T): T {
        offMainThread()
        if (!place.isUnlocked()) throw StorageFailure(StorageFailure.Reason.LOCKED)
        for ((attempt, millis) in PAUSES.withIndex()) {
            try {
                return ask(attempt == PAUSES.lastIndex)
            } catch (e: StorageFailure) {
                throw e
            } catch (e: Exception) {
                when (meaning(e)) {
                    Verdict.GONE -> throw StorageFailure(StorageFailure.Reason.LOST)
                    Verdict.LOCKED -> throw StorageFailure(StorageFailure.Reason.LOCKED)
                    Verdict.UNKNOWN -> if (attempt < PAUSES.lastIndex) pause(millis)
                }
            }
        }
        throw StorageFailure(StorageFailure.Reason.FAILED)
    }

    private fun meaning(e: Throwable): Verdict = when {
        // What lies here was wrapped by another key: a backup, or a keystore that was reset.
        e is AEADBadTagException -> Verdict.GONE
        e is NotFound -> Verdict.UNKNOWN
        else -> place.verdict(e)
    }

    /** There is no key, says the keystore. */
    private class NotFound : Exception()

    private class Parts(val nonce: ByteArray, val sealed: ByteArray) {
        companion object {
            fun of(wrapped: ByteArray): Parts? {
                if (wrapped.size < 2 || wrapped[0] != FORMAT) return null
                val end = 2 + wrapped[1].toInt()
                if (end !in 14..18 || wrapped.size < end + 16) return null
                return Parts(wrapped.copyOfRange(2, end), wrapped.copyOfRange(end, wrapped.size))
            }
        }
    }

    private companion object {
        const val TRANSFORMATION = "AES/GCM/NoPadding"
        const val FORMAT: Byte = 1

        /** In this process: two that make a key at once leave one of them without. */
        val MAKING = Any()

        val PAUSES = longArrayOf(50, 200, 500, 1_250, 0)
    }
}
