// Signing out: how far, and what came of it.

package io.gatepass

import io.gatepass.ffi.FfiBrowserSession
import io.gatepass.ffi.FfiRevocation
import io.gatepass.ffi.FfiSignOut
import io.gatepass.ffi.FfiSignedOut

/** How far a sign-out reaches. */
public enum class SignOut {
    /** Forget the session on this device only. The grant at the server lives on. */
    LOCAL,

    /** Forget it here, then revoke the grant at the server (RFC 7009), without opening a browser. */
    REVOKE,

    /**
     * Forget it here, revoke the grant, then end the user's session at the server as well, in the browser (OpenID Connect
     * RP-Initiated Logout 1.0), so that the next sign-in asks for the password again.
     */
    END_SESSION,
}

/** What came of a sign-out. Here the user is signed out in every case. */
public class SignedOut internal constructor(
    /** What came of the revocation at the server. */
    public val revocation: Revocation,
    /** What came of ending the session in the browser. */
    public val browserSession: BrowserSession,
) {
    override fun toString(): String = "SignedOut($revocation, $browserSession)"
}

/** What came of revoking the grant. */
public sealed class Revocation {
    /** The server revoked it. */
    public object Done : Revocation()

    /** It was not asked for, there was no refresh token to revoke, or the session was over before. */
    public object NotNeeded : Revocation()

    /** The server offers no revocation: the grant lives until it expires there. */
    public object NotOffered : Revocation()

    /** The server could not be reached. It is asked again later, for at most seven days and twenty times. */
    public class Queued internal constructor(
        /** Why. */
        public val error: GatepassException,
    ) : Revocation()

    /** The server refused, for good. */
    public class Failed internal constructor(
        /** Why. */
        public val error: GatepassException,
    ) : Revocation()

    override fun toString(): String = javaClass.simpleName
}

/** What came of ending the user's session at the server, in the browser. */
public sealed class BrowserSession {
    /** It was not asked for, or the session was over before. */
    public object NotAsked : BrowserSession()

    /** The server ended it: the browser came back with the state of this sign-out. */
    public object Ended : BrowserSession()

    /** The browser shows the server's page. Whether the user followed it through is not known. */
    public object Opened : BrowserSession()

    /** The server offers no such thing: its session in the browser lives until it expires there. */
    public object NotOffered : BrowserSession()

    /** The browser could not be opened, or the server could not be asked where to go. */
    public class Failed internal constructor(
        /** Why. */
        public val error: GatepassException,
    ) : BrowserSession()

    override fun toString(): String = javaClass.simpleName
}

internal fun SignOut.toFfi(): FfiSignOut = when (this) {
    SignOut.LOCAL -> FfiSignOut.LOCAL
    SignOut.REVOKE -> FfiSignOut.REVOKE
    SignOut.END_SESSION -> FfiSignOut.END_SESSION
}

internal fun FfiSignedOut.toSignedOut(): SignedOut = SignedOut(
    when (val revocation = revocation) {
        FfiRevocation.Done -> Revocation.Done
        FfiRevocation.NotNeeded -> Revocation.NotNeeded
        FfiRevocation.NotOffered -> Revocation.NotOffered
        is FfiRevocation.Queued -> Revocation.Queued(revocation.details.toException())
        is FfiRevocation.Failed -> Revocation.Failed(revocation.details.toException())
    },
    when (val browser = browserSession) {
        FfiBrowserSession.NotAsked -> BrowserSession.NotAsked
        FfiBrowserSession.Ended -> BrowserSession.Ended
        FfiBrowserSession.Opened -> BrowserSession.Opened
        FfiBrowserSession.NotOffered -> BrowserSession.NotOffered
        is FfiBrowserSession.Failed -> BrowserSession.Failed(browser.details.toException())
    },
)
