// HTTP of the platform: the JDK's HttpURLConnection stands in for Android's here.

package io.gatepass.android

import io.gatepass.ForeignTransport
import io.gatepass.Revocation
import io.gatepass.World
import io.gatepass.ffi.FfiHttpSuite
import java.io.ByteArrayInputStream
import java.security.KeyStore
import java.security.cert.CertificateFactory
import javax.net.ssl.SSLContext
import javax.net.ssl.SSLSocketFactory
import javax.net.ssl.TrustManagerFactory
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

class UrlConnectionTransportTest {
    @Test
    @Timeout(300)
    fun `the transport keeps the contract of the port`() = runBlocking<Unit> {
        FfiHttpSuite().use { suite ->
            val sockets = trusting(suite.rootDer())
            val report = suite.run(ForeignTransport(UrlConnectionTransport(sockets = { sockets })))
            println("kept: ${report.kept.size}, skipped: ${report.skipped}")
            // What the platform's client does and cannot be kept from. A GET of the core's is safe to repeat (RFC 9110 §9.2.2):
            // no code, no refresh token. No server sends 103 to a client that did not ask for it.
            val unavoidable = listOf(
                "informational answers are passed over",
                "a request is sent once when the connection dies on it: a GET",
                "a request is sent once when a pooled connection dies on it: a GET",
            )
            val others = report.broken.filter { broken -> unavoidable.none { it in broken } }
            assertEquals(emptyList<String>(), others)
            assertTrue(report.kept.size >= 24, "${report.kept.size} were looked at")
        }
    }

    @Test
    fun `a whole journey over it`() = runBlocking<Unit> {
        World().use { world ->
            val session = world.gatepass { transport = UrlConnectionTransport() }.signIn()
            session.refresh()
            assertEquals(200, world.callApi(session.accessToken()))
            assertEquals(Revocation.Done, session.signOut().revocation)
        }
    }

    private fun trusting(rootDer: ByteArray): SSLSocketFactory {
        val root = CertificateFactory.getInstance("X.509").generateCertificate(ByteArrayInputStream(rootDer))
        val store = KeyStore.getInstance(KeyStore.getDefaultType()).apply {
            load(null)
            setCertificateEntry("root", root)
        }
        val factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()).apply { init(store) }
        return SSLContext.getInstance("TLS").apply { init(null, factory.trustManagers, null) }.socketFactory
    }
}
