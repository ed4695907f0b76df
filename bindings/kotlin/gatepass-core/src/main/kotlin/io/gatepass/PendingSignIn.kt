// A sign-in whose browser is the caller's affair.

package io.gatepass

import io.gatepass.ffi.FfiPendingSignIn
import java.util.concurrent.CompletableFuture

/**
 * A sign-in that waits for its redirect: show its [authorizationUrl] in a browser, then [await]. The redirect comes in by
 * the loopback listener, which is open already, or through [Gatepass.resumeSignIn], in this process or another.
 *
 * ```
 * gatepass.beginSignIn().use { pending ->
 *     println("Open ${pending.authorizationUrl}")
 *     val session = pending.await()
 * }
 * ```
 */
public class PendingSignIn internal constructor(
    private val gatepass: Gatepass,
    private val ffi: FfiPendingSignIn,
) : AutoCloseable {
    /** The URL for the browser. It holds state and nonce: not for logs. */
    public val authorizationUrl: String = ffi.authorizationUrl()

    /**
     * For how long after the beginning of the sign-in the server accepts that URL, in milliseconds; `null` where it does not
     * limit that.
     */
    public val authorizationUrlLifetimeMillis: Long? = ffi.authorizationUrlLifetimeMillis()?.toLong()

    /** The redirect URI of this sign-in, with the port that was bound where it is a loopback one. */
    public val redirectUri: String = ffi.redirectUri()

    /** Finds the attempt in the logs. */
    public val diagnosticId: String = ffi.diagnosticId()

    /**
     * Waits for the sign-in to end. Safe to cancel: the sign-in goes on.
     *
     * @throws GatepassException as [Gatepass.signIn] from the browser on.
     */
    public suspend fun await(): Session = gatepass.sessionOf(calling { ffi.awaitEnd() })

    /** [await] for Java. */
    public fun awaitFuture(): CompletableFuture<Session> = gatepass.promising { await() }

    /** Calls the sign-in off. If its redirect came before, it completes all the same. Returns at once. */
    public fun cancel(): Unit = ffi.cancel()

    /** Gives back what this holds in the native library. The sign-in goes on. */
    override fun close(): Unit = ffi.close()

    override fun toString(): String = "PendingSignIn($diagnosticId)"
}
