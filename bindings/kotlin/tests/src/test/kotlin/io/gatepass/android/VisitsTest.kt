// Where redirects go.

package io.gatepass.android

import io.gatepass.BrowserFailure
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows

class VisitsTest {
    private val redirect = Redirect.of("https://app.example.com/callback")!!
    private val visits = Visits()
    private val page = "https://login.example.com/authorize?client_id=a&state=s1"
    private val back = "https://app.example.com/callback?code=c&state=s1"

    private class Kept(override val redirects: List<Redirect>) : Visits.Client {
        val resumed = ArrayList<String>()

        override fun resume(url: String) {
            resumed += url
        }
    }

    @Test
    fun `a redirect goes to the visit that shows its state`() = runBlocking<Unit> {
        val client = Kept(listOf(redirect)).also { kept -> visits.add { kept } }
        val (name, end) = visits.begin(page, redirect)
        assertTrue(visits.isWaitedFor(name))
        assertEquals(name, visits.deliver(back))
        assertEquals(back, end.await())
        assertFalse(visits.isWaitedFor(name))
        assertEquals(emptyList<String>(), client.resumed)
    }

    @Test
    fun `pl_27 what another app made up ends no visit`() {
        val client = Kept(listOf(redirect)).also { kept -> visits.add { kept } }
        val (name, end) = visits.begin(page, redirect)
        for (forged in listOf(
            "https://app.example.com/callback?code=c&state=other",
            "https://app.example.com/callback?error=access_denied",
            "https://app.example.com/callback?state=s1&state=s1",
            "https://app.example.com/other?state=s1",
            "https://evil.example.com/callback?state=s1",
            "https://app.example.com:8443/callback?state=",
            "com.example:/callback?state=s1",
            "::",
            "",
        )) {
            assertNull(visits.deliver(forged), "nobody's browser is closed for it")
            assertFalse(end.isCompleted, forged)
        }
        assertTrue(visits.isWaitedFor(name) && visits.isAnybodyWaiting())
        // The core judges those that could be its own.
        assertEquals(4, client.resumed.size, "${client.resumed}")
    }

    @Test
    fun `pl_28 in a new process the redirect goes to the client, made before it or after`() {
        val before = Kept(listOf(redirect)).also { kept -> visits.add { kept } }
        visits.deliver(back)
        assertEquals(listOf(back), before.resumed)

        val fresh = Visits()
        fresh.deliver(back)
        val other = Kept(listOf(Redirect.of("https://other.example.com/callback")!!))
        fresh.add { other }
        val after = Kept(listOf(redirect)).also { kept -> fresh.add { kept } }
        assertEquals(emptyList<String>(), other.resumed)
        assertEquals(listOf(back), after.resumed)
        // Once.
        val second = Kept(listOf(redirect)).also { kept -> fresh.add { kept } }
        assertEquals(emptyList<String>(), second.resumed)
    }

    @Test
    fun `what anybody sends before the client is made does not push out the redirect`() {
        val fresh = Visits()
        for (url in listOf("https://app.example.com/callback?error=forged", back, "com.example:/other", "::")) fresh.deliver(url)
        val client = Kept(listOf(redirect)).also { kept -> fresh.add { kept } }
        assertTrue(back in client.resumed, "${client.resumed}")
    }

    @Test
    fun `a query with characters that are no URI's is the core's to judge`() = runBlocking<Unit> {
        val (_, end) = visits.begin(page, redirect)
        val odd = "$back&scope=a|b^{c}`%zz"
        visits.deliver(odd)
        assertEquals(odd, end.await())
    }

    @Test
    fun `a tab that hands a redirect back ends its visit, whatever it shows`() = runBlocking<Unit> {
        val client = Kept(listOf(redirect)).also { kept -> visits.add { kept } }
        val (name, end) = visits.begin(page, redirect)
        val other = "https://app.example.com/callback?error=x"
        visits.cameBack(name, other)
        assertEquals(other, end.await())
        assertFalse(visits.isAnybodyWaiting())
        visits.cameBack(name, back)
        assertEquals(listOf(back), client.resumed, "in a new process nobody waits for the visit")
    }

    @Test
    fun `a client that is gone takes nothing`() {
        var kept: Kept? = Kept(listOf(redirect))
        visits.add { kept }
        kept = null
        visits.deliver(back)
        val next = Kept(listOf(redirect)).also { made -> visits.add { made } }
        assertEquals(listOf(back), next.resumed)
    }

    @Test
    fun `with a pushed request the URL shows no state, and the client takes the redirect`() {
        val client = Kept(listOf(redirect)).also { kept -> visits.add { kept } }
        visits.begin("https://login.example.com/authorize?client_id=a&request_uri=urn%3Ax", redirect)
        visits.deliver(back)
        assertEquals(listOf(back), client.resumed)
    }

    @Test
    fun `an end reaches who waits`() = runBlocking<Unit> {
        val (name, end) = visits.begin(page, redirect)
        visits.end(name, BrowserFailure(BrowserFailure.Reason.CANCELLED))
        val thrown = assertThrows<BrowserFailure> { runBlocking { end.await() } }
        assertEquals(BrowserFailure.Reason.CANCELLED, thrown.reason)
        visits.end("nobody's", BrowserFailure(BrowserFailure.Reason.FAILED))
    }
}
