// A visit to the browser, by what the activity is told and in which order.

package io.gatepass.android

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test

class VisitTest {
    private val authTab = Step(Rung.AUTH_TAB, "a")
    private val customTab = Step(Rung.CUSTOM_TAB, "b")
    private val url = "https://app.example.com/callback?code=c&state=s"
    private val wait = Order.Wait(Visit.GRACE_MILLIS)

    private fun visit(vararg steps: Step, manufacturer: String = "Google"): Visit {
        val visit = Visit(steps.toList(), manufacturer)
        assertEquals(Order.Launch(steps[0]), visit.resumed())
        visit.started(0)
        visit.paused()
        return visit
    }

    @Test
    fun `an Auth Tab hands the redirect back`() {
        val visit = visit(authTab)
        assertEquals(Order.Redirect(url), visit.result(TabResult.OK, url, 5_000))
        assertEquals(Order.Nothing, visit.resumed())
        assertEquals(Order.Nothing, visit.graceOver())
    }

    @Test
    fun `pl_24 cancelled, and then the redirect as an intent`() {
        val visit = visit(authTab)
        assertEquals(wait, visit.result(TabResult.CANCELED, null, 5_000))
        assertEquals(Order.Nothing, visit.resumed())
        assertEquals(Order.Redirect(url), visit.redirect(url))
        assertEquals(Order.Nothing, visit.graceOver())
    }

    @Test
    fun `pl_24 the redirect as an intent, and then cancelled`() {
        val visit = visit(authTab)
        assertEquals(Order.Redirect(url), visit.redirect(url))
        assertEquals(Order.Nothing, visit.result(TabResult.CANCELED, null, 5_000))
        assertEquals(Order.Nothing, visit.resumed())
    }

    @Test
    fun `pl_30 a user who comes back has cancelled once the grace is over`() {
        val visit = visit(customTab)
        assertEquals(wait, visit.resumed())
        assertEquals(Order.End(VisitEnd.CANCELLED), visit.graceOver())
        assertEquals(Order.Nothing, visit.redirect(url))
    }

    @Test
    fun `an activity that is covered again has nobody in front of it`() {
        val visit = visit(customTab)
        assertEquals(wait, visit.resumed())
        // An authenticator app, or the tab itself, came to the front.
        visit.paused()
        assertEquals(Order.Nothing, visit.graceOver())
        assertEquals(wait, visit.resumed())
    }

    @Test
    fun `pl_21 a time-out takes the next rung, a refused association too`() {
        val timedOut = visit(authTab, customTab)
        assertEquals(Order.Launch(customTab), timedOut.result(TabResult.VERIFICATION_TIMED_OUT, null, 9_000))
        val refused = visit(authTab, customTab)
        assertEquals(Order.Launch(customTab), refused.result(TabResult.VERIFICATION_FAILED, null, 9_000))
        val alone = visit(authTab)
        assertEquals(Order.End(VisitEnd.NOT_ASSOCIATED), alone.result(TabResult.VERIFICATION_FAILED, null, 9_000))
    }

    @Test
    fun `an answer that nobody knows is no redirect`() {
        for (code in listOf(-2, 1, 77)) assertEquals(wait, visit(authTab).result(code, url, 5_000))
        assertEquals(wait, visit(authTab).result(TabResult.OK, null, 5_000))
    }

    @Test
    fun `a tab that the device closes at once is followed by the next rung, once`() {
        val visit = visit(authTab, customTab, manufacturer = "Motorola")
        assertEquals(Order.Launch(customTab), visit.result(TabResult.CANCELED, null, 300))
        visit.started(400)
        visit.paused()
        assertEquals(wait, visit.resumed())
        // Slower: that was a person.
        val slow = visit(authTab, customTab, manufacturer = "motorola")
        assertEquals(wait, slow.result(TabResult.CANCELED, null, 3_000))
        assertEquals(wait, visit(authTab, customTab).result(TabResult.CANCELED, null, 300))
    }

    @Test
    fun `browsers that are gone are passed over, and none is its own end`() {
        val visit = Visit(listOf(authTab, customTab), "Google")
        assertEquals(Order.Launch(authTab), visit.resumed())
        assertEquals(Order.Launch(customTab), visit.notStarted())
        assertEquals(Order.End(VisitEnd.NO_BROWSER), visit.notStarted())
        assertEquals(Order.Nothing, visit.notStarted())
    }

    @Test
    fun `a visit that was saved opens no second browser`() {
        val restored = Visit(listOf(authTab), "Google", at = 0)
        assertEquals(wait, restored.resumed())
        assertEquals(Order.Redirect(url), restored.result(TabResult.OK, url, 0))
    }
}
