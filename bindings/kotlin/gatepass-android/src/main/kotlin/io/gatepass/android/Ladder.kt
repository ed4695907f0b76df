// Which browser, and how: the ladder of DESIGN §4.2. Decides; knows nothing of Android's classes.

package io.gatepass.android

/** How a page is shown. */
internal enum class Rung {
    /** The browser hands the redirect back itself. */
    AUTH_TAB,

    /** A tab of the browser's over the app; the redirect comes as an intent. */
    CUSTOM_TAB,

    /** The browser; the redirect comes as an intent. */
    BROWSER,
}

/** A browser on this device. */
internal data class InstalledBrowser(
    val packageName: String,
    val isDefault: Boolean,
    val customTabs: Boolean,
    val authTab: Boolean,
)

/** One try. */
internal data class Step(val rung: Rung, val packageName: String)

/** What a browser does wrong. Such a one comes last, and is never left out: it may be the only one. */
internal class Quirk(
    val packageName: String,
    /** The rungs on which it does it. */
    val rungs: Set<Rung>,
    @Suppress("unused") val why: String,
)

/** What is known of browsers. Data: a line more is all that a new one takes. */
internal val QUIRKS = listOf(
    Quirk(
        "com.sec.android.app.sbrowser",
        setOf(Rung.CUSTOM_TAB, Rung.BROWSER),
        "Samsung Internet keeps redirects to App Links in its tab",
    ),
    Quirk(
        "org.mozilla.firefox",
        setOf(Rung.CUSTOM_TAB, Rung.BROWSER),
        "Firefox asks before it opens an app, or does not, as its user set it",
    ),
    Quirk(
        "org.mozilla.focus",
        setOf(Rung.CUSTOM_TAB, Rung.BROWSER),
        "Firefox Focus asks before it opens an app, and forgets who is signed in",
    ),
    Quirk(
        "com.duckduckgo.mobile.android",
        setOf(Rung.CUSTOM_TAB, Rung.BROWSER),
        "DuckDuckGo keeps redirects without a tap in its tab",
    ),
)

/** Devices on which something closes an Auth Tab as soon as it opens: the next rung is tried once. */
internal val CLOSES_AUTH_TABS = setOf("motorola")

/** Where the redirect goes, as far as the ladder cares (RFC 8252 §7). */
internal enum class RedirectKind {
    /** A claimed https URL. */
    CLAIMED_HTTPS,

    /** A scheme of the app's. */
    PRIVATE_USE_SCHEME,

    /** http to this device: no app can stay awake for that behind a browser. */
    LOOPBACK,

    /** A sign-out that does not come back. */
    NONE,
}

/** Whether Android opens links to the redirect's host in this app. */
internal enum class HostState {
    /** It verified the association, or the user chose the app. */
    OPENS_APP,

    /** It does not: the link would stay in the browser. */
    STAYS_IN_BROWSER,

    /** Before Android 12 nobody can tell. */
    UNKNOWN,
}

/** What the ladder comes to. */
internal sealed class Ladder {
    /** These, one after the other. */
    data class Steps(val steps: List<Step>) : Ladder()

    /** There is no browser on this device, or none that may be seen. */
    object NoBrowser : Ladder()

    /** Only an Auth Tab could bring the redirect back, and no browser has one: the host is not verified. */
    object HostNotVerified : Ladder()

    /** Only an Auth Tab is safe for that scheme, and no browser has one. */
    object SchemeCanBeHijacked : Ladder()

    /** Such a redirect does not work on Android. */
    object LoopbackRedirect : Ladder()
}

/**
 * The rungs for a redirect, best first.
 *
 * An Auth Tab checks the association with the host itself, and gives a private-use scheme to nobody else. Every other rung
 * rests on Android opening the link in this app: where it is known that it does not, those are left out.
 */
internal fun ladder(
    browsers: List<InstalledBrowser>,
    kind: RedirectKind,
    host: HostState,
    schemeMayBeHijacked: Boolean,
    quirks: List<Quirk> = QUIRKS,
): Ladder {
    if (kind == RedirectKind.LOOPBACK) return Ladder.LoopbackRedirect
    if (browsers.isEmpty()) return Ladder.NoBrowser
    val returns = when (kind) {
        RedirectKind.CLAIMED_HTTPS -> host != HostState.STAYS_IN_BROWSER
        RedirectKind.PRIVATE_USE_SCHEME -> schemeMayBeHijacked
        else -> true
    }
    fun on(rung: Rung, can: (InstalledBrowser) -> Boolean) = browsers.filter(can)
        .sortedBy { browser ->
            val quirky = quirks.any { it.packageName == browser.packageName && rung in it.rungs }
            // What works before what the user likes best, and otherwise as the system lists them.
            (if (quirky) 2 else 0) + (if (browser.isDefault) 0 else 1)
        }
        .map { Step(rung, it.packageName) }

    val steps = ArrayList<Step>()
    if (kind != RedirectKind.NONE) steps += on(Rung.AUTH_TAB) { it.authTab }.take(1)
    if (returns) {
        // A quirky browser with tabs is no better than another one without.
        val others = on(Rung.CUSTOM_TAB) { it.customTabs } + on(Rung.BROWSER) { true }
        val (quirky, sound) = others.partition { step ->
            quirks.any { it.packageName == step.packageName && step.rung in it.rungs }
        }
        steps += (sound + quirky).take(2)
    }
    return when {
        steps.isNotEmpty() -> Ladder.Steps(steps)
        kind == RedirectKind.PRIVATE_USE_SCHEME -> Ladder.SchemeCanBeHijacked
        else -> Ladder.HostNotVerified
    }
}
