// The life of a session through the façade: sign-in, refresh, restart, sign-out.

package io.gatepass

import java.nio.file.Path
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertSame
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class JourneyTest {
    @Test
    fun `a session from its first URL to its end`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            assertEquals(SessionState.Loading, gatepass.state.value)
            assertNull(gatepass.session())
            assertEquals(SessionState.SignedOut, gatepass.state.value)

            val session = gatepass.signIn()
            assertEquals(SessionState.SignedIn, gatepass.state.value)
            assertEquals(SessionState.SignedIn, session.state.value)
            assertEquals(world.server.issuer(), session.issuer)
            assertTrue("\"sub\":\"${session.claims!!.subject}\"" in session.claims!!.json)
            assertTrue("offline_access" in session.scope)
            assertSame(session, gatepass.session())

            val first = session.accessToken()
            assertSame(first, session.peek())
            assertEquals(200, world.callApi(first))
            assertTrue("\"sub\":\"${session.claims!!.subject}\"" in session.userinfoJson())
            assertTrue(session.canRefresh())
            assertTrue(session.expiresInMillis()!! > 0)
            assertEquals(1, world.tokenRequests())

            session.refresh()
            val second = session.accessToken()
            assertNotEquals(first, second)
            assertSame(second, session.peek())
            assertEquals(2, world.tokenRequests())

            // The app starts again.
            val restarted = world.gatepass()
            val found = restarted.session()!!
            assertEquals(session.id, found.id)
            assertEquals(second, found.peek())
            val tokens = (1..50).map { async(Dispatchers.Default) { found.accessToken() } }.awaitAll()
            assertEquals(setOf(second), tokens.toSet())
            assertEquals(2, world.tokenRequests())

            val report = found.signOut()
            assertSame(Revocation.Done, report.revocation)
            assertSame(BrowserSession.NotAsked, report.browserSession)
            assertNull(found.peek())
            assertEquals(SessionState.SignedOut, restarted.state.value)
            assertNull(restarted.session())
            assertEquals(401, world.callApi(second))
            val ended = failureOf<GatepassException.SessionEnded> { found.accessToken() }
            assertEquals(EndReason.SIGNED_OUT, ended.reason)
            assertEquals(NextStep.SIGN_IN_AGAIN, ended.nextStep)
            assertFalse(ended.isRetryable)

            // What the other client did shows once this one has looked.
            gatepass.catchUp()
            assertNull(session.peek())
            assertEquals(SessionState.SignedOut, gatepass.state.value)
            assertEquals(2, world.tokenRequests())
        }
    }

    @Test
    fun `a redirect into a new process completes there`() = runBlocking<Unit> {
        World().use { world ->
            val redirect = world.gatepass().beginSignIn(SignInOptions(loginHint = "alice")).use {
                assertEquals(REDIRECT, it.redirectUri)
                world.server.browserSignIn(it.authorizationUrl)
            }
            val session = world.gatepass().resumeSignIn(redirect)
            assertEquals(200, world.callApi(session.accessToken()))
        }
    }

    @Test
    fun `a handle of an earlier sign-in never gives a token of a later one`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass()
            val earlier = gatepass.signIn()
            earlier.signOut(SignOut.LOCAL)
            val later = gatepass.signIn()
            assertEquals(earlier.id, later.id)
            assertNotNull(later.peek())
            assertNull(earlier.peek())
            failureOf<GatepassException.SessionEnded> { earlier.accessToken() }
            assertEquals(later.peek(), later.accessToken())
        }
    }

    @Test
    fun `several users side by side, each with a session`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass { severalAccounts = true }
            val sessions = (0u..1u).map { user ->
                gatepass.beginSignIn().use { gatepass.resumeSignIn(world.server.signInAs(user, it.authorizationUrl)) }
            }
            assertEquals(sessions.reversed(), gatepass.sessions())
            assertNotEquals(sessions[0].claims!!.subject, sessions[1].claims!!.subject)
            sessions[1].signOut()
            assertEquals(SessionState.SignedOut, sessions[1].state.value)
            assertEquals(SessionState.SignedIn, sessions[0].state.value)
            assertEquals(SessionState.SignedIn, gatepass.state.value)
            gatepass.forgetEverything()
            assertEquals(SessionState.SignedOut, gatepass.state.value)
            assertNull(sessions[0].peek())
        }
    }

    @Test
    fun `an API with tokens of its own`() = runBlocking<Unit> {
        World().use { world ->
            val other = Target(resources = listOf(world.server.urlOfApi("other")))
            val session = world.gatepass { api("https://other.example.com", other) }.signIn()
            assertNull(session.peek(other))
            val token = session.accessToken(other)
            assertNotEquals(session.accessToken(), token)
            assertEquals(token, session.peek(other))
            assertEquals(token, session.authorize("https://other.example.com/x"))
            assertNull(session.authorize("https://elsewhere.example.com/x"))
            assertEquals(listOf(true, false), session.apis.map { it.takesOwnToken })
        }
    }

    @Test
    fun `the session at the server is ended in the browser`() = runBlocking<Unit> {
        World().use { world ->
            val gatepass = world.gatepass {
                postLogoutRedirect = "https://app.example.com/signed-out"
                browser = TestBrowser { url ->
                    if ("response_type" in url) world.server.browserSignIn(url) else world.server.browserSignOut(url)
                }
            }
            assertSame(BrowserSession.Ended, gatepass.signIn().signOut(SignOut.END_SESSION).browserSession)
        }
    }

    /** All of it built in: HTTP, the system's browser, the loopback redirect, encrypted files. */
    @Test
    fun `a desktop app in six lines`(@TempDir folder: Path) = runBlocking<Unit> {
        World().use { world ->
            fun start() = Gatepass(
                "com.example.my-app", issuer = world.server.issuer(), clientId = world.server.clientId(),
                api = world.server.issuer(),
            ) {
                scopes = listOf("openid", "profile", "offline_access")
                allowHttpOnLoopback(AllowHttpOnLoopback)
                storage = SessionStorage.encryptedFiles(folder.toString(), FileKey.bytes(ByteArray(32) { 7 }))
            }
            // BROWSER of this process is a program that hands the URL on through a pipe.
            val pipe = Path.of(System.getenv("GATEPASS_TEST_PIPE"))
            assertEquals(0, ProcessBuilder("mkfifo", pipe.toString()).start().waitFor())
            try {
                start().use { gatepass ->
                    val user = async {
                        val url = withContext(Dispatchers.IO) { pipe.toFile().readText().trim() }
                        world.server.browserDeliver(world.server.browserSignIn(url))
                    }
                    val session = gatepass.session() ?: gatepass.signIn()
                    assertEquals(200, user.await().toInt())
                    assertEquals(200, world.callApi(session.accessToken()))
                    gatepass.drain()
                }
                start().use { gatepass ->
                    val session = gatepass.session()!!
                    assertEquals(200, world.callApi(session.accessToken()))
                    assertSame(Revocation.Done, session.signOut().revocation)
                }
                assertEquals(1, world.tokenRequests())
            } finally {
                pipe.toFile().delete()
            }
        }
    }

    @Test
    fun `everything from Java`() {
        World().use { world ->
            val gatepass = world.gatepass()
            fun <T> java.util.concurrent.CompletableFuture<T>.now(): T = get(20, TimeUnit.SECONDS)
            assertNull(gatepass.sessionFuture().now())
            val pending = gatepass.beginSignInFuture().now()
            pending.cancel()
            val why = runCatching { pending.awaitFuture().now() }.exceptionOrNull()!!.cause
            assertTrue(why is GatepassException.Cancelled, why.toString())
            pending.close()
            val session = gatepass.signInFuture().now()
            val token = session.accessTokenFuture().now()
            assertSame(session.peek(), token)
            assertEquals(token, session.authorizeFuture(world.server.apiUrl()).now())
            assertNull(session.refreshFuture().now())
            assertTrue(session.canRefreshFuture().now())
            assertTrue("sub" in session.userinfoJsonFuture().now())
            assertTrue("token_endpoint" in gatepass.serverMetadataJsonFuture().now())
            gatepass.catchUpFuture().now()
            gatepass.drainFuture().now()
            assertEquals(listOf(session), gatepass.sessionsFuture().now())
            session.signOutFuture(SignOut.LOCAL).now()
            gatepass.forgetEverythingFuture().now()
            assertNull(session.peek())
        }
    }

    @Test
    fun `what holds a secret does not print it`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass().signIn()
            val token = session.accessToken()
            val header = HttpHeader("Authorization", "Bearer ${token.value}")
            val body = token.value.toByteArray()
            val printed = listOf(
                token, header, session, session.claims, HttpResponse(200, listOf(header), body),
                StoredRecord(body, 1), FileKey.passphrase(token.value),
            )
            for (thing in printed) {
                assertFalse(token.value in thing.toString(), thing!!.javaClass.simpleName)
            }
            assertFalse(session.claims!!.subject in printed.toString())
        }
    }
}
