// Opening the browser by something other than the native library.

package io.gatepass

import io.gatepass.ffi.FfiUserAgent
import io.gatepass.ffi.FfiUserAgentFailure
import io.gatepass.ffi.FfiUserAgentRequest
import io.gatepass.ffi.FfiUserAgentReturn
import kotlin.coroutines.cancellation.CancellationException

/**
 * Opens a URL in the platform's browser: for a sign-in, and for ending a session at the server. Never a web view
 * (RFC 8252 §8.12).
 *
 * Returns when there is something to say; may stay suspended while the user is busy. May be cancelled: the visit is of no
 * use any more then. Throws [BrowserFailure]; any other exception counts as [BrowserFailure.Reason.FAILED], and its text is
 * shown nowhere.
 */
public interface Browser {
    /**
     * Shows the page to the user. [url] holds state and nonce, or an ID token: it goes to the browser and into no log.
     * [redirectUri] ends the visit; it is empty where the browser does not come back.
     *
     * @return the redirect, where the browser hands it back itself; `null` where the browser was opened and the redirect
     *   arrives by another way, such as the loopback listener or [Gatepass.resumeSignIn].
     */
    public suspend fun open(url: String, redirectUri: String): String?
}

/** Why a browser could not do its part. */
public class BrowserFailure @JvmOverloads constructor(
    /** What it was. */
    public val reason: Reason,
    /**
     * What to do about it, for [Reason.ASSOCIATION_MISSING] and [Reason.CONFIGURATION]. It becomes the text of the exception
     * that the app sees, so it holds nothing of the URL that was shown.
     */
    public val advice: String = "",
) : Exception(reason.name) {
    /** What it was. */
    public enum class Reason {
        /** The user closed the browser or declined. */
        CANCELLED,

        /** There is no browser, or none would open. */
        NO_BROWSER,

        /** The browser ended at an error page of the server, and will not come back. */
        REFUSED,

        /** The platform does not accept the association between the app and the host of its redirect. */
        ASSOCIATION_MISSING,

        /** The app is not set up for its redirect. */
        CONFIGURATION,

        /** Something else on the platform. */
        FAILED,
    }
}

/** The core's port, by way of the app's. */
internal class ForeignBrowser(private val browser: Browser) : FfiUserAgent {
    override suspend fun show(request: FfiUserAgentRequest): FfiUserAgentReturn = try {
        when (val redirect = browser.open(request.url, request.redirectUri)) {
            null -> FfiUserAgentReturn.Opened
            else -> FfiUserAgentReturn.Redirected(redirect)
        }
    } catch (e: CancellationException) {
        throw e
    } catch (e: BrowserFailure) {
        throw when (e.reason) {
            BrowserFailure.Reason.CANCELLED -> FfiUserAgentFailure.Cancelled()
            BrowserFailure.Reason.NO_BROWSER -> FfiUserAgentFailure.NoBrowser()
            BrowserFailure.Reason.REFUSED -> FfiUserAgentFailure.Refused()
            BrowserFailure.Reason.ASSOCIATION_MISSING -> FfiUserAgentFailure.AssociationMissing(e.advice)
            BrowserFailure.Reason.CONFIGURATION -> FfiUserAgentFailure.Configuration(e.advice)
            BrowserFailure.Reason.FAILED -> FfiUserAgentFailure.Failed()
        }
    } catch (e: Throwable) {
        throw FfiUserAgentFailure.Unexpected()
    }
}
