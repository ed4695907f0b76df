// The configuration of a client.

package io.gatepass

import io.gatepass.ffi.FfiApi
import io.gatepass.ffi.FfiConfig
import io.gatepass.ffi.FfiOnUnknownOutcome
import io.gatepass.ffi.FfiTransportPolicy
import java.util.concurrent.TimeUnit

/** Marks what the modules of Gatepass use of each other. It may change or go in any version. */
@RequiresOptIn("Between the modules of Gatepass: it may change or go in any version.")
@Retention(AnnotationRetention.BINARY)
public annotation class GatepassPlatformApi

/**
 * The configuration of a client. What is wrong in it is told by the [Gatepass] that is made of it, as
 * [GatepassException.Configuration] with a text that says what to write instead.
 */
public class GatepassConfig(
    /** The issuer, exactly as the server's operator names it. */
    public val issuer: String,
    /** The client id. */
    public val clientId: String,
) {
    /**
     * The redirect URI, as registered at the server: a claimed https URL, a private-use scheme, or
     * `http://127.0.0.1/callback`, which stands for any port there (RFC 8252 §7).
     */
    public var redirect: String = "http://127.0.0.1/callback"

    /** The scope to ask for, one token an item. With `offline_access` most servers give a refresh token. */
    public var scopes: List<String> = listOf("openid", "offline_access")

    /** Where the browser comes back to after [SignOut.END_SESSION], as registered at the server for that purpose. */
    public var postLogoutRedirect: String? = null

    /**
     * Lets several users be signed in side by side, each with a session of their own: [Gatepass.sessions]. Needs the scope
     * `openid`.
     */
    public var severalAccounts: Boolean = false

    /**
     * Whether the loopback redirect of a sign-in whose process is gone is listened for again. Off for a program that looks
     * and is gone again.
     */
    public var listensAgain: Boolean = true

    /** What to do when nobody knows whether the server processed a refresh. */
    public var onUnknownOutcome: OnUnknownOutcome = OnUnknownOutcome.RETRY

    /** Where sessions are kept. */
    public var storage: SessionStorage = SessionStorage.memory()

    /** HTTP by something other than the platform's own. */
    public var transport: HttpTransport? = null

    /** The browser, by something other than the platform's own. */
    public var browser: Browser? = null

    /** The clocks by which a token is handed out without a call. */
    @GatepassPlatformApi
    public var tokenClock: TokenClock = SystemTokenClock

    /** Whether a private-use scheme may come back as a link that any app can claim. */
    @GatepassPlatformApi
    public var schemeMayBeHijacked: Boolean = false
        private set

    private val apis = ArrayList<FfiApi>()
    private var policy = FfiTransportPolicy.HTTPS_ONLY
    private var signInTimeoutMillis: ULong? = null

    /**
     * The origin of an API (`https://api.example.com`) that tokens may be sent to; can be called several times. No other
     * origin ever gets one. With a [target] it gets tokens of its own.
     */
    @JvmOverloads
    public fun api(origin: String, target: Target? = null): GatepassConfig {
        apis += FfiApi(origin, target?.toFfi())
        return this
    }

    /** How long a sign-in may take until its redirect is back; 15 minutes unless set. */
    public fun signInTimeout(amount: Long, unit: TimeUnit): GatepassConfig {
        signInTimeoutMillis = unit.toMillis(amount.coerceAtLeast(0)).toULong()
        return this
    }

    /**
     * Lets a redirect with a private-use scheme come back through a browser that does not keep it to this app: on Android one
     * without Auth Tab. Any app can claim the scheme, and then the user's sign-in ends there (RFC 8252 §8.4; PKCE keeps the
     * code useless to it).
     */
    public fun allowHijackableScheme(@Suppress("UNUSED_PARAMETER") allowed: AllowHijackableScheme): GatepassConfig {
        schemeMayBeHijacked = true
        return this
    }

    /** Allows http to `127.0.0.1` and `[::1]`, for tests against a server on this machine. */
    public fun allowHttpOnLoopback(@Suppress("UNUSED_PARAMETER") allowed: AllowHttpOnLoopback): GatepassConfig {
        policy = FfiTransportPolicy.ALLOW_HTTP_ON_LOOPBACK
        return this
    }

    internal fun toFfi() = FfiConfig(
        issuer = issuer,
        clientId = clientId,
        redirect = redirect,
        scopes = scopes,
        apis = apis.toList(),
        transportPolicy = policy,
        signInTimeoutMillis = signInTimeoutMillis,
        postLogoutRedirect = postLogoutRedirect,
        severalAccounts = severalAccounts,
        withoutListeningAgain = !listensAgain,
        onUnknownOutcome = when (onUnknownOutcome) {
            OnUnknownOutcome.RETRY -> FfiOnUnknownOutcome.RETRY
            OnUnknownOutcome.RETRY_ONCE -> FfiOnUnknownOutcome.RETRY_ONCE
            OnUnknownOutcome.RETRY_WHEN_EXPIRED -> FfiOnUnknownOutcome.RETRY_WHEN_EXPIRED
        },
    )
}

/** Says that a scheme which any app can claim is meant: a word for reviewers to find. */
public object AllowHijackableScheme

/** Says that http on loopback is meant: a word for reviewers to find. */
public object AllowHttpOnLoopback

/**
 * What to do when nobody knows whether the server processed a refresh: a matter of how this server treats a refresh token
 * that comes a second time (RFC 9700 §4.14.2).
 */
public enum class OnUnknownOutcome {
    /** Send the same token again: at once, then 2, 5, 10 and 20 seconds later, and never later than 30 seconds on. */
    RETRY,

    /** Send it again once, at once. */
    RETRY_ONCE,

    /** Use the access token for as long as it lives, and send the refresh token again only then. */
    RETRY_WHEN_EXPIRED,
}

/** The clocks by which a token is handed out without a call. Both must agree that it is still good. */
@GatepassPlatformApi
public interface TokenClock {
    /** A clock that nobody sets, of which only differences mean anything, in nanoseconds. It may stop while the machine sleeps. */
    public fun nanoTime(): Long

    /** The wall clock, in milliseconds since 1970. */
    public fun currentTimeMillis(): Long
}

/** Those of the JVM. */
internal object SystemTokenClock : TokenClock {
    override fun nanoTime(): Long = System.nanoTime()

    override fun currentTimeMillis(): Long = System.currentTimeMillis()
}
