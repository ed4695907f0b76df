// Which browser, and how.

package io.gatepass.android

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class LadderTest {
    private val chrome = InstalledBrowser("com.android.chrome", isDefault = true, customTabs = true, authTab = true)
    private val oldChrome = chrome.copy(authTab = false)
    private val plain = InstalledBrowser("org.example.plain", isDefault = false, customTabs = false, authTab = false)
    private val samsung =
        InstalledBrowser("com.sec.android.app.sbrowser", isDefault = true, customTabs = true, authTab = false)

    private fun steps(
        vararg browsers: InstalledBrowser,
        kind: RedirectKind = RedirectKind.CLAIMED_HTTPS,
        host: HostState = HostState.OPENS_APP,
        hijackable: Boolean = false,
    ): List<Pair<Rung, String>> {
        val ladder = ladder(browsers.toList(), kind, host, hijackable)
        return (ladder as Ladder.Steps).steps.map { it.rung to it.packageName }
    }

    @Test
    fun `pl_20 an Auth Tab first, then a Custom Tab, then the browser`() {
        val name = chrome.packageName
        assertEquals(listOf(Rung.AUTH_TAB to name, Rung.CUSTOM_TAB to name, Rung.BROWSER to name), steps(chrome))
        assertEquals(listOf(Rung.CUSTOM_TAB to name, Rung.BROWSER to name), steps(oldChrome))
        assertEquals(listOf(Rung.BROWSER to plain.packageName), steps(plain))
    }

    @Test
    fun `a browser with an Auth Tab comes before a default without`() {
        val other = plain.copy(isDefault = true, customTabs = true)
        assertEquals(Rung.AUTH_TAB to chrome.packageName, steps(other, chrome.copy(isDefault = false)).first())
        assertEquals(Rung.CUSTOM_TAB to other.packageName, steps(other, oldChrome.copy(isDefault = false)).first())
    }

    @Test
    fun `a browser that keeps redirects comes last and is never left out`() {
        assertEquals(
            listOf(Rung.CUSTOM_TAB to oldChrome.packageName, Rung.BROWSER to oldChrome.packageName),
            steps(samsung, oldChrome.copy(isDefault = false)),
        )
        assertEquals(Rung.BROWSER to plain.packageName, steps(samsung, plain).first())
        val alone = samsung.packageName
        assertEquals(listOf(Rung.CUSTOM_TAB to alone, Rung.BROWSER to alone), steps(samsung))
        for (quirk in QUIRKS) {
            val browser = InstalledBrowser(quirk.packageName, true, true, true)
            assertTrue(steps(browser).isNotEmpty(), quirk.packageName)
        }
    }

    @Test
    fun `pl_25 a host that is not verified leaves the Auth Tab, which asks by itself`() {
        val host = HostState.STAYS_IN_BROWSER
        assertEquals(listOf(Rung.AUTH_TAB to chrome.packageName), steps(chrome, samsung, host = host))
        val ladder = ladder(listOf(oldChrome, samsung), RedirectKind.CLAIMED_HTTPS, host, true)
        assertEquals(Ladder.HostNotVerified, ladder)
        // Before Android 12 nobody can tell, and nothing is left out.
        assertEquals(3, steps(chrome, host = HostState.UNKNOWN).size)
    }

    @Test
    fun `na_20 a scheme that any app can claim stays in an Auth Tab unless the app says so`() {
        val kind = RedirectKind.PRIVATE_USE_SCHEME
        assertEquals(listOf(Rung.AUTH_TAB to chrome.packageName), steps(chrome, kind = kind))
        assertEquals(3, steps(chrome, kind = kind, hijackable = true).size)
        assertEquals(
            Ladder.SchemeCanBeHijacked,
            ladder(listOf(oldChrome), kind, HostState.UNKNOWN, schemeMayBeHijacked = false),
        )
    }

    @Test
    fun `no browser is its own answer, and loopback is refused`() {
        assertEquals(Ladder.NoBrowser, ladder(emptyList(), RedirectKind.CLAIMED_HTTPS, HostState.OPENS_APP, false))
        assertEquals(Ladder.LoopbackRedirect, ladder(listOf(chrome), RedirectKind.LOOPBACK, HostState.UNKNOWN, true))
    }

    @Test
    fun `a sign-out that does not come back needs no Auth Tab`() {
        assertEquals(Rung.CUSTOM_TAB to chrome.packageName, steps(chrome, kind = RedirectKind.NONE).first())
    }
}
