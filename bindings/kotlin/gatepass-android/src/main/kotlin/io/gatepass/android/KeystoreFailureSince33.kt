// Android 13 and later. A class of its own, so that older ones never load it.

package io.gatepass.android

import android.security.KeyStoreException

internal object KeystoreFailureSince33 {
    /** What the keystore itself says of its trouble; `null` if it says nothing. */
    fun of(e: Throwable): Verdict? {
        val said = generateSequence(e) { it.cause }.take(8).filterIsInstance<KeyStoreException>().firstOrNull() ?: return null
        return when {
            said.isTransientFailure -> Verdict.UNKNOWN
            said.numericErrorCode == KeyStoreException.ERROR_KEY_CORRUPTED ||
                said.numericErrorCode == KeyStoreException.ERROR_KEY_DOES_NOT_EXIST -> Verdict.GONE
            said.requiresUserAuthentication() -> Verdict.LOCKED
            else -> Verdict.UNKNOWN
        }
    }
}
