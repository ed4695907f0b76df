// The interceptor, and HTTP by OkHttp.

package io.gatepass

import com.sun.net.httpserver.HttpServer
import io.gatepass.ffi.FfiHttpSuite
import java.net.InetSocketAddress
import java.util.concurrent.CopyOnWriteArrayList
import javax.net.ssl.SSLContext
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import okhttp3.MediaType
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody
import okhttp3.Response
import okio.BufferedSink
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout
import org.junit.jupiter.api.assertThrows

class OkHttpTest {
    private fun OkHttpClient.get(url: String, change: Request.Builder.() -> Unit = {}): Response =
        newCall(Request.Builder().url(url).apply(change).build()).execute()

    private fun Session.client() = OkHttpClient.Builder().addInterceptor(interceptor()).build()

    @Test
    fun `requests to the API carry the token, refreshed in time`() = runBlocking<Unit> {
        World(virtualTime = true).use { world ->
            val session = world.gatepass().signIn()
            val http = session.client()
            http.get(world.server.apiUrl()).use { assertEquals(200, it.code) }
            assertEquals(1, world.tokenRequests())
            world.server.advance(session.expiresInMillis()!!.toULong())
            http.get(world.server.apiUrl()).use { assertEquals(200, it.code) }
            assertEquals(2, world.tokenRequests())
        }
    }

    @Test
    fun `many refusals at once cost one refresh`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass().signIn()
            val http = session.client()
            world.server.revokeAccessTokens()
            val codes = (1..20).map {
                async(Dispatchers.IO) { http.get(world.server.apiUrl()).use { answer -> answer.code } }
            }.awaitAll()
            assertEquals(List(20) { 200 }, codes)
            assertEquals(2, world.tokenRequests())
        }
    }

    @Test
    fun `other origins see no token, nor does a request that brings its own`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass().signIn()
            val seen = CopyOnWriteArrayList<String?>()
            val other = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
            other.createContext("/") { exchange ->
                seen += exchange.requestHeaders.getFirst("Authorization")
                exchange.sendResponseHeaders(if (seen.size == 1) 401 else 200, -1)
                exchange.close()
            }
            other.start()
            try {
                val port = other.address.port
                val http = session.client()
                // A 401 of theirs refreshes nothing of ours.
                http.get("http://127.0.0.1:$port/api").use { assertEquals(401, it.code) }
                http.get("http://localhost:$port/api").close()
                assertEquals(listOf(null, null), seen)
                val own: Request.Builder.() -> Unit = { header("Authorization", "Bearer mine") }
                http.get(world.server.apiUrl(), own).use { assertEquals(401, it.code) }
                assertEquals(1, world.tokenRequests())
            } finally {
                other.stop(0)
            }
        }
    }

    @Test
    fun `a body that can be sent once is sent once`() = runBlocking<Unit> {
        World().use { world ->
            val refusing = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0)
            refusing.createContext("/") { exchange ->
                exchange.sendResponseHeaders(401, -1)
                exchange.close()
            }
            refusing.start()
            val api = "http://127.0.0.1:${refusing.address.port}"
            val session = world.gatepass { api(api) }.signIn()
            val body = object : RequestBody() {
                var written = 0

                override fun contentType(): MediaType? = null

                override fun isOneShot() = true

                override fun writeTo(sink: BufferedSink) {
                    written += 1
                    sink.writeUtf8("once")
                }
            }
            session.client().get("$api/notes") { post(body) }.use { assertEquals(401, it.code) }
            refusing.stop(0)
            assertEquals(1, body.written)
            assertEquals(1, world.tokenRequests())
        }
    }

    @Test
    fun `a session that is over fails the call as OkHttp expects`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass().signIn()
            val http = session.client()
            session.signOut(SignOut.LOCAL)
            val thrown = assertThrows<GatepassIOException> { http.get(world.server.apiUrl()).close() }
            assertTrue(thrown.cause is GatepassException.SessionEnded)
            assertNull(session.peek())
        }
    }

    @Test
    fun `a whole journey over OkHttp`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass { transport = OkHttpTransport() }.signIn()
            session.refresh()
            assertEquals(200, world.callApi(session.accessToken()))
            assertEquals(Revocation.Done, session.signOut().revocation)
        }
    }

    @Test
    @Timeout(300)
    fun `the transport keeps the contract of the port`() = runBlocking<Unit> {
        FfiHttpSuite().use { suite ->
            val client = trusting(suite.rootDer())
            val report = suite.run(ForeignTransport(OkHttpTransport(client)))
            println("kept: ${report.kept.size}, skipped: ${report.skipped}")
            assertEquals(emptyList<String>(), report.broken)
            assertTrue(report.kept.size >= 27, "${report.kept.size} were looked at")
        }
    }

    private fun trusting(rootDer: ByteArray): OkHttpClient {
        val trust = trustIn(rootDer)
        val context = SSLContext.getInstance("TLS").apply { init(null, arrayOf(trust), null) }
        return OkHttpClient.Builder().sslSocketFactory(context.socketFactory, trust).build()
    }
}
