// The life of a session through the generated Kotlin: sign-in, refresh, restart, sign-out.

package io.gatepass

import io.gatepass.core.FfiHttpRequest
import io.gatepass.core.FfiHttpResponse
import io.gatepass.core.FfiHttpTransport
import io.gatepass.core.FfiRevocation
import io.gatepass.core.FfiSessionState
import io.gatepass.core.FfiSignInOptions
import io.gatepass.core.FfiSignOut
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class SignInTest {
    @Test
    fun `a session from its first URL to its end`() = runBlocking<Unit> {
        World().use { world ->
            val client = world.client()
            assertEquals(FfiSessionState.Loading, client.state())
            assertNull(client.session())
            assertEquals(FfiSessionState.SignedOut, client.state())

            val session = world.signIn(client)
            assertEquals(FfiSessionState.SignedIn, client.state())
            assertEquals(world.server.issuer(), session.issuer())
            assertNotNull(session.subject())
            assertTrue("offline_access" in session.scope())

            val first = session.accessToken()
            assertEquals(first, session.peek())
            assertEquals(200, callApi(world, first))
            assertTrue("\"sub\":\"${session.subject()}\"" in session.userinfoJson())
            assertEquals(1uL, world.tokenRequests())
            val before = session.snapshot()!!

            session.refresh()
            val second = session.accessToken()
            assertNotEquals(first, second)
            assertEquals(2uL, world.tokenRequests())
            val after = session.snapshot()!!
            assertEquals(second, after.token)
            assertTrue(after.generation > before.generation)
            assertNotNull(after.usableUntilBootMillis)

            // The app starts again.
            val restarted = world.client()
            val found = restarted.session()!!
            assertEquals(session.subject(), found.subject())
            assertEquals(second, found.accessToken())

            val tokens = (1..50).map { async(Dispatchers.Default) { found.accessToken() } }.awaitAll()
            assertEquals(setOf(second), tokens.toSet())
            assertEquals(2uL, world.tokenRequests())

            val report = found.signOut(FfiSignOut.REVOKE)
            assertEquals(FfiRevocation.Done, report.revocation)
            assertEquals(1uL, world.server.requestCount("/revoke"))
            assertNull(found.peek())
            assertNull(found.snapshot())
            assertNull(restarted.session())
            assertEquals(FfiSessionState.SignedOut, restarted.state())
            assertEquals(401, callApi(world, second))

            val error = failureOf { found.accessToken() }
            assertEquals("session_ended", error.kind)
            assertEquals("signed_out", error.endReason)
            assertEquals("sign_in_again", error.nextStep)
            assertFalse(error.isRetryable)
            assertEquals(2uL, world.tokenRequests())
        }
    }

    @Test
    fun `a redirect into a new process completes there`() = runBlocking<Unit> {
        World().use { world ->
            val pending = world.client().beginSignIn(FfiSignInOptions(loginHint = "alice"))
            assertEquals("https://app.example.com/callback", pending.redirectUri)
            val redirect = world.server.browserSignIn(pending.authorizationUrl)
            val session = world.client().resumeSignIn(redirect)
            assertEquals(200, callApi(world, session.accessToken()))
        }
    }

    @Test
    fun `clients over one storage that refresh at once keep the session`() = runBlocking<Unit> {
        World().use { world ->
            world.signIn(world.client())
            val sessions = (1..4).map { world.client().session()!! }
            sessions.map { async(Dispatchers.Default) { it.refresh() } }.awaitAll()
            assertEquals(200, callApi(world, world.client().session()!!.accessToken()))
        }
    }

    @Test
    fun `a caller that is cancelled stops no refresh`() = runBlocking<Unit> {
        World().use { world ->
            val http = HeldHttp()
            val session = world.signIn(world.client(http))
            val first = session.accessToken()
            http.hold()
            val caller = launch(Dispatchers.Default) { session.refresh() }
            withTimeout(10_000) { http.arrived.await() }
            caller.cancelAndJoin()
            http.release.complete(Unit)
            withTimeout(10_000) { while (session.peek() == first) delay(10) }
            assertEquals(2uL, world.tokenRequests())
            assertFalse(http.cancelled)
        }
    }

    @Test
    fun `what holds a secret does not print it`() = runBlocking<Unit> {
        World().use { world ->
            val http = HeldHttp()
            val session = world.signIn(world.client(http))
            val token = session.accessToken()
            session.userinfoJson()
            assertFalse(token in session.snapshot().toString())
            // The request for userinfo carried the token in a header, the answer of the token endpoint in its body.
            assertTrue(http.seen.any { seen -> seen.request.headers.any { token in it.value } })
            assertTrue(http.seen.any { seen -> token in String(seen.response.body) })
            for (seen in http.seen) {
                assertFalse(token in seen.request.toString())
                assertFalse(token in seen.request.headers.toString())
                assertFalse(token in seen.response.toString())
            }
        }
    }

    private fun callApi(world: World, token: String): Int {
        val request = HttpRequest.newBuilder(URI(world.server.apiUrl())).header("Authorization", "Bearer $token").build()
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding()).statusCode()
    }
}

/** The JDK's HTTP, which remembers what it saw and can be held before its next request. */
private class HeldHttp : FfiHttpTransport {
    class Exchange(val request: FfiHttpRequest, val response: FfiHttpResponse)

    val seen: MutableList<Exchange> = java.util.Collections.synchronizedList(ArrayList())
    val arrived = CompletableDeferred<Unit>()
    val release = CompletableDeferred<Unit>()

    @Volatile
    var cancelled = false

    @Volatile
    private var held = false
    private val jdk = JdkHttpTransport()

    fun hold() {
        held = true
    }

    override suspend fun send(request: FfiHttpRequest): FfiHttpResponse {
        if (held) {
            arrived.complete(Unit)
            try {
                release.await()
            } catch (e: kotlinx.coroutines.CancellationException) {
                cancelled = true
                throw e
            }
        }
        return jdk.send(request).also { seen += Exchange(request, it) }
    }
}
