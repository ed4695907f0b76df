// Whether the app declares its redirect, and what to paste where it does not. Knows nothing of Android's classes.

package io.gatepass.android

import io.gatepass.BrowserFailure
import java.net.URI
import java.net.URISyntaxException

/** A redirect URI in its parts. */
internal class Redirect private constructor(
    val text: String,
    val scheme: String,
    val host: String?,
    val path: String,
) {
    val kind: RedirectKind
        get() = when {
            text.isEmpty() -> RedirectKind.NONE
            scheme == "https" -> RedirectKind.CLAIMED_HTTPS
            scheme == "http" -> RedirectKind.LOOPBACK
            else -> RedirectKind.PRIVATE_USE_SCHEME
        }

    /** Whether a URL that came in goes here, whatever its query (RFC 3986 §6.2.2). */
    fun isTargetOf(url: String): Boolean {
        // Queries hold what `java.net.URI` refuses and browsers send (`|`, `^`): they are the core's to judge.
        val other = of(url.substringBefore('#').substringBefore('?'))
        return other != null && text.isNotEmpty() && other.scheme == scheme && other.host == host && other.path == path
    }

    /** The intent filter for the app's manifest. */
    fun snippet(): String {
        val verified = if (kind == RedirectKind.CLAIMED_HTTPS) " android:autoVerify=\"true\"" else ""
        val data = buildString {
            append("android:scheme=\"").append(xml(scheme)).append('"')
            host?.let { append(" android:host=\"").append(xml(it)).append('"') }
            if (path.isNotEmpty()) append(" android:path=\"").append(xml(path)).append('"')
        }
        return """
            |<activity android:name="$REDIRECT_ACTIVITY" android:exported="true">
            |    <intent-filter$verified>
            |        <action android:name="android.intent.action.VIEW" />
            |        <category android:name="android.intent.category.DEFAULT" />
            |        <category android:name="android.intent.category.BROWSABLE" />
            |        <data $data />
            |    </intent-filter>
            |</activity>
        """.trimMargin()
    }

    companion object {
        /** The activity that redirects come to. */
        const val REDIRECT_ACTIVITY: String = "io.gatepass.android.RedirectActivity"

        val NONE: Redirect = Redirect("", "", null, "")

        /** `null` if it is no URI. */
        fun of(text: String): Redirect? {
            if (text.isEmpty()) return NONE
            val uri = try {
                URI(text)
            } catch (e: URISyntaxException) {
                return null
            }
            val scheme = uri.scheme?.lowercase() ?: return null
            // `com.example.app:/callback` has no host; `java.net.URI` gives up on hosts with an underscore.
            val host = (uri.host ?: uri.authority?.substringAfterLast('@')?.substringBefore(':'))?.lowercase()
            return Redirect(text, scheme, host, uri.rawPath ?: "")
        }

        private fun xml(text: String): String =
            text.replace("&", "&amp;").replace("\"", "&quot;").replace("<", "&lt;")
    }
}

/** Who answers to a link to the redirect, as the system sees it. */
internal class Answering(
    /** The activities of this app. */
    val ours: List<String>,
)

/** Throws unless the redirect comes to our activity. */
internal fun checkDeclared(redirect: Redirect, answering: Answering) {
    if (redirect.kind == RedirectKind.NONE || redirect.kind == RedirectKind.LOOPBACK) return
    val others = answering.ours.filter { it != Redirect.REDIRECT_ACTIVITY }
    val why = when {
        Redirect.REDIRECT_ACTIVITY !in answering.ours ->
            "AndroidManifest.xml declares no activity for the redirect ${redirect.text}"
        // Android would ask the user which of them, or take any.
        others.isNotEmpty() -> "${others.sorted().joinToString()} also answers to the redirect ${redirect.text}: take that " +
            "filter away, so that only one does"
        else -> return
    }
    throw BrowserFailure(
        BrowserFailure.Reason.CONFIGURATION,
        "$why. Inside <application> there must be:\n${redirect.snippet()}",
    )
}

/** What an app is told that no rung fits. */
internal fun refusal(ladder: Ladder, redirect: Redirect): BrowserFailure = when (ladder) {
    Ladder.NoBrowser -> BrowserFailure(BrowserFailure.Reason.NO_BROWSER)
    Ladder.LoopbackRedirect -> BrowserFailure(
        BrowserFailure.Reason.CONFIGURATION,
        "the redirect ${redirect.text} cannot come back on Android: an app behind a browser may be stopped at any moment. " +
            "Use a claimed https URL, such as https://app.example.com/callback (RFC 8252 §7.2)",
    )
    Ladder.SchemeCanBeHijacked -> BrowserFailure(
        BrowserFailure.Reason.CONFIGURATION,
        "no browser on this device has an Auth Tab, and without one any app can take the scheme ${redirect.scheme}. Use a " +
            "claimed https URL (RFC 8252 §7.2), or say AllowHijackableScheme",
    )
    else -> BrowserFailure(
        BrowserFailure.Reason.ASSOCIATION_MISSING,
        "Android does not open ${redirect.host} in this app, so the browser would keep the redirect. Check " +
            "https://${redirect.host}/.well-known/assetlinks.json for this package and the SHA-256 of its signing certificate " +
            "(`gatepass doctor` does), and autoVerify in the manifest; a device looks when the app is installed",
    )
}
