// The core's HTTP by OkHttp, which retries and follows of its own accord, and is kept from it.

package io.gatepass

import java.io.IOException
import java.io.InterruptedIOException
import java.net.ConnectException
import java.net.InetAddress
import java.net.NoRouteToHostException
import java.net.ProtocolException
import java.net.Socket
import java.net.SocketTimeoutException
import java.net.UnknownHostException
import java.security.cert.CertificateException
import java.util.concurrent.ExecutorService
import java.util.concurrent.SynchronousQueue
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import javax.net.ssl.SNIHostName
import javax.net.ssl.SSLException
import javax.net.ssl.SSLPeerUnverifiedException
import javax.net.ssl.SSLSocket
import javax.net.ssl.SSLSocketFactory
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlinx.coroutines.suspendCancellableCoroutine
import okhttp3.Call
import okhttp3.Callback
import okhttp3.ConnectionPool
import okhttp3.CookieJar
import okhttp3.Dispatcher
import okhttp3.EventListener
import okhttp3.Interceptor
import okhttp3.MediaType
import okhttp3.OkHttpClient
import okhttp3.Protocol
import okhttp3.Request
import okhttp3.RequestBody
import okhttp3.Response
import okio.BufferedSink

/**
 * HTTP of Gatepass by OkHttp, with the proxy, trust, DNS and pinning of a client of the app's.
 *
 * ```
 * Gatepass("com.example.my-app", issuer = …, clientId = …) { transport = OkHttpTransport(okHttp) }
 * ```
 *
 * Only these settings of the client count: its interceptors, cache, cookies, authenticators and redirects are left out, so
 * that a request is sent once, as it is, and by nothing of Gatepass's own. HTTP/1.1, a connection for each request.
 */
public class OkHttpTransport @JvmOverloads constructor(client: OkHttpClient = OkHttpClient()) : HttpTransport {
    // Of its own, not `newBuilder` of the app's: what an app adds to its client is not for tokens.
    private val client = OkHttpClient.Builder()
        .proxySelector(client.proxySelector)
        .apply { client.proxy?.let(::proxy) }
        .proxyAuthenticator(client.proxyAuthenticator)
        .dns(client.dns)
        .socketFactory(client.socketFactory)
        .apply {
            val trust = client.x509TrustManager
            if (trust != null) sslSocketFactory(NamingSocketFactory(client.sslSocketFactory), trust)
        }
        .hostnameVerifier(client.hostnameVerifier)
        .certificatePinner(client.certificatePinner)
        .connectionSpecs(client.connectionSpecs)
        .dispatcher(Dispatcher(daemons()))
        .retryOnConnectionFailure(false)
        .followRedirects(false)
        .followSslRedirects(false)
        .cookieJar(CookieJar.NO_COOKIES)
        // A connection that dies while it idles is the classic cause of a request whose outcome nobody knows.
        .connectionPool(ConnectionPool(0, 1, TimeUnit.NANOSECONDS))
        .protocols(listOf(Protocol.HTTP_1_1))
        // The deadline is that of the whole call.
        .connectTimeout(0, TimeUnit.MILLISECONDS)
        .readTimeout(0, TimeUnit.MILLISECONDS)
        .writeTimeout(0, TimeUnit.MILLISECONDS)
        .eventListenerFactory { call -> call.request().tag(Exchange::class.java) ?: EventListener.NONE }
        .addNetworkInterceptor(Once)
        .build()

    override suspend fun send(request: HttpRequest): HttpResponse {
        val exchange = Exchange()
        val call = client.newCall(prepare(request, exchange))
        call.timeout().timeout(request.timeoutMillis, TimeUnit.MILLISECONDS)
        return suspendCancellableCoroutine { waiting ->
            waiting.invokeOnCancellation { call.cancel() }
            call.enqueue(object : Callback {
                override fun onFailure(call: Call, e: IOException) {
                    waiting.resumeWithException(exchange.failure(e))
                }

                override fun onResponse(call: Call, response: Response) {
                    try {
                        waiting.resume(response.use { exchange.read(it, request.maxResponseBytes) })
                    } catch (e: IOException) {
                        waiting.resumeWithException(exchange.failure(e))
                    } catch (e: HttpFailure) {
                        waiting.resumeWithException(e)
                    }
                }
            })
        }
    }

    private fun prepare(request: HttpRequest, exchange: Exchange): Request = try {
        val builder = Request.Builder().url(request.url).tag(Exchange::class.java, exchange)
        // Nothing is decoded: what comes is counted as it comes.
        builder.header("Accept-Encoding", "identity")
        // OkHttp puts its own name where there is none.
        builder.header("User-Agent", "gatepass")
        val set = HashSet<String>()
        for (header in request.headers) {
            // The first of a name takes the place of ours, the others come beside it.
            if (set.add(header.name.lowercase())) {
                builder.header(header.name, header.value)
            } else {
                builder.addHeader(header.name, header.value)
            }
        }
        val body = if (request.method == "GET" || request.method == "HEAD") null else Body(request.body)
        builder.method(request.method, body).build()
    } catch (e: IllegalArgumentException) {
        throw HttpFailure(Delivery.NOT_SENT, HttpFailureReason.INVALID_REQUEST)
    }
}

/** Threads that keep no program from its end: those of OkHttp's own stay for a minute. */
private fun daemons(): ExecutorService {
    val threads = ThreadFactory { work -> Thread(work, "gatepass-okhttp").apply { isDaemon = true } }
    return ThreadPoolExecutor(0, Int.MAX_VALUE, 60, TimeUnit.SECONDS, SynchronousQueue(), threads)
}

/**
 * Names the server in the handshake (RFC 6066 §3), also where its name has no dot: the JDK leaves that out, and a server
 * with several certificates shows another one.
 */
private class NamingSocketFactory(private val factory: SSLSocketFactory) : SSLSocketFactory() {
    override fun getDefaultCipherSuites(): Array<String> = factory.defaultCipherSuites

    override fun getSupportedCipherSuites(): Array<String> = factory.supportedCipherSuites

    override fun createSocket(socket: Socket, host: String, port: Int, autoClose: Boolean): Socket =
        named(factory.createSocket(socket, host, port, autoClose), host)

    // OkHttp connects by itself, and asks for none of these.
    override fun createSocket(host: String, port: Int): Socket = named(factory.createSocket(host, port), host)

    override fun createSocket(host: String, port: Int, localHost: InetAddress, localPort: Int): Socket =
        named(factory.createSocket(host, port, localHost, localPort), host)

    override fun createSocket(host: InetAddress, port: Int): Socket = factory.createSocket(host, port)

    override fun createSocket(address: InetAddress, port: Int, localAddress: InetAddress, localPort: Int): Socket =
        factory.createSocket(address, port, localAddress, localPort)

    private fun named(socket: Socket, host: String): Socket {
        if (socket is SSLSocket && '.' !in host && ':' !in host) {
            socket.sslParameters = socket.sslParameters.apply { serverNames = listOf(SNIHostName(host)) }
        }
        return socket
    }
}

/** A body that is written once, whatever OkHttp would like. */
private class Body(private val bytes: ByteArray) : RequestBody() {
    override fun contentType(): MediaType? = null

    override fun contentLength(): Long = bytes.size.toLong()

    override fun isOneShot(): Boolean = true

    override fun writeTo(sink: BufferedSink) {
        sink.write(bytes)
    }
}

/**
 * The last before the wire. Lets a call through once; and shows what is above, which would follow it up (408, 421, 503 with
 * `Retry-After: 0`, 401, redirects), every answer as a plain 200.
 */
private object Once : Interceptor {
    override fun intercept(chain: Interceptor.Chain): Response {
        val exchange = chain.request().tag(Exchange::class.java)
        if (exchange == null || !exchange.begin()) throw IOException("a second time")
        val answer = chain.proceed(chain.request())
        exchange.status = answer.code
        // Two lengths: where one message ends and the next begins is anybody's guess (RFC 9112 §6.3).
        if (answer.headers("Content-Length").flatMap { it.split(',') }.map { it.trim() }.distinct().size > 1) {
            answer.close()
            throw ProtocolException("more than one Content-Length")
        }
        return answer.newBuilder().code(200).message("").build()
    }
}

/** What is known of one exchange. */
private class Exchange : EventListener() {
    @Volatile
    var status = 0

    /** How far it is: each step is only ever reached on the thread of the call. */
    @Volatile
    private var begun = false

    @Volatile
    private var sending = false

    @Volatile
    private var securing = false

    @Volatile
    private var connecting = false

    fun begin(): Boolean = !begun.also { begun = true }

    override fun connectStart(call: Call, inetSocketAddress: java.net.InetSocketAddress, proxy: java.net.Proxy) {
        connecting = true
    }

    override fun secureConnectStart(call: Call) {
        securing = true
    }

    override fun requestHeadersStart(call: Call) {
        sending = true
    }

    fun read(response: Response, limit: Long): HttpResponse {
        val source = response.body?.source() ?: throw IOException("no body")
        // One more than is allowed, or the end.
        if (source.request(limit + 1)) throw HttpFailure(Delivery.UNKNOWN_OUTCOME, HttpFailureReason.BODY_TOO_LARGE)
        val headers = response.headers.map { (name, value) -> HttpHeader(name, value) }
        return HttpResponse(status, headers, source.readByteArray())
    }

    fun failure(e: IOException): HttpFailure {
        val delivery = if (sending) Delivery.UNKNOWN_OUTCOME else Delivery.NOT_SENT
        return HttpFailure(delivery, reason(e))
    }

    private fun reason(e: IOException): HttpFailureReason = when {
        e is SocketTimeoutException || e is InterruptedIOException -> HttpFailureReason.TIMEOUT
        e is UnknownHostException -> HttpFailureReason.NAME_NOT_RESOLVED
        e is SSLPeerUnverifiedException || causes(e).any { it is CertificateException } ->
            HttpFailureReason.TLS_CERTIFICATE
        !sending && (e is SSLException || securing) -> HttpFailureReason.TLS
        !sending && connecting && e.message.orEmpty().contains("CONNECT") -> HttpFailureReason.PROXY
        e is ConnectException || e is NoRouteToHostException -> HttpFailureReason.CONNECT
        e is ProtocolException -> HttpFailureReason.INVALID_ANSWER
        sending -> HttpFailureReason.CONNECTION_LOST
        else -> HttpFailureReason.CONNECT
    }

    private fun causes(e: Throwable): Sequence<Throwable> = generateSequence(e) { it.cause }.take(8)
}
