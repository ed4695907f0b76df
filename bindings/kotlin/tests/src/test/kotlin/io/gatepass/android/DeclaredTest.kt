// What an app must declare, and what it is told to paste.

package io.gatepass.android

import io.gatepass.BrowserFailure
import java.io.ByteArrayInputStream
import javax.xml.parsers.DocumentBuilderFactory
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

class DeclaredTest {
    private val redirect = Redirect.of("https://app.example.com/callback")!!

    @Test
    fun `the one filter is enough`() {
        checkDeclared(redirect, Answering(listOf(Redirect.REDIRECT_ACTIVITY)))
        checkDeclared(Redirect.NONE, Answering(emptyList()))
    }

    @Test
    fun `a missing filter is a configuration with the snippet to paste`() {
        val thrown = assertThrows<BrowserFailure> { checkDeclared(redirect, Answering(emptyList())) }
        assertEquals(BrowserFailure.Reason.CONFIGURATION, thrown.reason)
        val snippet = thrown.advice.substringAfter("must be:\n")
        val xml = "<application xmlns:android=\"http://schemas.android.com/apk/res/android\">$snippet</application>"
        val document = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(ByteArrayInputStream(xml.toByteArray()))
        val data = document.getElementsByTagName("data").item(0).attributes
        assertEquals("https", data.getNamedItem("android:scheme").nodeValue)
        assertEquals("app.example.com", data.getNamedItem("android:host").nodeValue)
        assertEquals("/callback", data.getNamedItem("android:path").nodeValue)
        val filter = document.getElementsByTagName("intent-filter").item(0).attributes
        assertEquals("true", filter.getNamedItem("android:autoVerify").nodeValue)
        val activity = document.getElementsByTagName("activity").item(0).attributes
        assertEquals(Redirect.REDIRECT_ACTIVITY, activity.getNamedItem("android:name").nodeValue)
        assertEquals("true", activity.getNamedItem("android:exported").nodeValue)
    }

    @Test
    fun `another activity that answers as well is told by name`() {
        val answering = Answering(listOf(Redirect.REDIRECT_ACTIVITY, "com.example.MainActivity"))
        val thrown = assertThrows<BrowserFailure> { checkDeclared(redirect, answering) }
        assertTrue("com.example.MainActivity" in thrown.advice, thrown.advice)
    }

    @Test
    fun `a private-use scheme has no host and no autoVerify`() {
        val scheme = Redirect.of("com.example.app:/callback")!!
        assertEquals(RedirectKind.PRIVATE_USE_SCHEME, scheme.kind)
        assertNull(scheme.host)
        val snippet = scheme.snippet()
        assertTrue("autoVerify" !in snippet && "android:host" !in snippet && "com.example.app" in snippet, snippet)
    }

    @Test
    fun `what comes in is compared by scheme, host and path`() {
        for (same in listOf("https://app.example.com/callback?code=1", "HTTPS://APP.example.com/callback?x#y")) {
            assertTrue(redirect.isTargetOf(same), same)
        }
        for (other in listOf(
            "https://app.example.com/callback/", "https://app.example.com/callbackx", "http://app.example.com/callback",
            "https://app.example.com.evil.example/callback", "https://user@evil.example/callback", "", "%", "callback",
        )) {
            assertTrue(!redirect.isTargetOf(other), other)
        }
    }

    @Test
    fun `every refusal says what to do`() {
        for (ladder in listOf(Ladder.HostNotVerified, Ladder.LoopbackRedirect, Ladder.SchemeCanBeHijacked)) {
            val refusal = refusal(ladder, redirect)
            assertTrue(refusal.advice.length > 80, refusal.advice)
        }
        assertEquals(BrowserFailure.Reason.NO_BROWSER, refusal(Ladder.NoBrowser, redirect).reason)
        assertEquals(BrowserFailure.Reason.ASSOCIATION_MISSING, refusal(Ladder.HostNotVerified, redirect).reason)
    }
}
