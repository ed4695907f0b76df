// The Android Keystore.

package io.gatepass.android

import android.content.Context
import android.os.UserManager
import android.security.keystore.KeyGenParameterSpec
import android.security.keystore.KeyPermanentlyInvalidatedException
import android.security.keystore.KeyProperties
import android.security.keystore.UserNotAuthenticatedException
import java.security.KeyStore
import java.security.UnrecoverableKeyException
import javax.crypto.KeyGenerator
import javax.crypto.SecretKey

/**
 * One AES key in the Android Keystore: in the TEE where the device has one. Not in a StrongBox, which takes some hundred
 * milliseconds for what is asked at every start; and without a lock of the screen, which would take it along when it is
 * changed.
 */
internal class AndroidKeyPlace(private val context: Context) : KeyPlace {
    override fun isUnlocked(): Boolean =
        context.getSystemService(UserManager::class.java)?.isUserUnlocked ?: true

    override fun find(): SecretKey? {
        val store = KeyStore.getInstance(PROVIDER).apply { load(null) }
        return store.getKey(ALIAS, null) as? SecretKey
    }

    override fun make(): SecretKey {
        val spec = KeyGenParameterSpec.Builder(ALIAS, KeyProperties.PURPOSE_ENCRYPT or KeyProperties.PURPOSE_DECRYPT)
            .setBlockModes(KeyProperties.BLOCK_MODE_GCM)
            .setEncryptionPaddings(KeyProperties.ENCRYPTION_PADDING_NONE)
            .setKeySize(256)
            .build()
        return KeyGenerator.getInstance(KeyProperties.KEY_ALGORITHM_AES, PROVIDER).apply { init(spec) }.generateKey()
    }

    override fun verdict(e: Throwable): Verdict = when {
        e is KeyPermanentlyInvalidatedException -> Verdict.GONE
        e is UserNotAuthenticatedException -> Verdict.LOCKED
        Level.has(Level.KEYSTORE_SAYS_WHY) -> KeystoreFailureSince33.of(e) ?: byWords(e)
        else -> byWords(e)
    }

    /** Where the platform has no code for it: before Android 13, and where it lost the cause on the way. */
    private fun byWords(e: Throwable): Verdict = when {
        // A key that cannot be read at all does not come back.
        e is UnrecoverableKeyException && e.cause == null -> Verdict.GONE
        generateSequence(e) { it.cause }.take(MOST_CAUSES).any { it.message?.contains(CORRUPT) == true } -> Verdict.GONE
        else -> Verdict.UNKNOWN
    }

    private companion object {
        /** As Android 7 to 12 say it (`KM_ERROR_INVALID_KEY_BLOB`). */
        const val CORRUPT = "Invalid key blob"
        const val MOST_CAUSES = 16
        const val PROVIDER = "AndroidKeyStore"
        const val ALIAS = "io.gatepass.sessions"
    }
}
