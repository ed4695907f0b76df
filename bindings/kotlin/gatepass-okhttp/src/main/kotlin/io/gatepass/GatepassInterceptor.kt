// The token for requests that an app sends by OkHttp.

@file:JvmName("GatepassOkHttp")

package io.gatepass

import java.io.IOException
import kotlinx.coroutines.runBlocking
import okhttp3.HttpUrl
import okhttp3.Interceptor
import okhttp3.Request
import okhttp3.Response

/**
 * Puts the session's access token into requests to the app's APIs (RFC 6750 §2.1), refreshed first if need be; an answer of
 * 401 that refuses the token is met with one refresh, however many requests were refused at once, and one more try.
 *
 * Requests to any other origin pass through untouched, and so do those that bring an `Authorization` header of their own. A
 * body that can be sent only once is not sent a second time: the 401 is the answer then.
 *
 * ```
 * val http = OkHttpClient.Builder().addInterceptor(session.interceptor()).build()
 * ```
 *
 * For `addInterceptor`, not `addNetworkInterceptor`: OkHttp drops the header when it follows a redirect to another origin.
 * Where no token can be had the call fails with a [GatepassIOException]. Blocks, as interceptors do, while a refresh is
 * under way.
 */
public fun Session.interceptor(): Interceptor = GatepassInterceptor(this)

/** Why a call had no token: [cause] says more. An [IOException], as OkHttp wants of an interceptor. */
public class GatepassIOException internal constructor(
    /** What happened, and what to do about it. */
    override val cause: GatepassException,
) : IOException(cause.message, cause)

private class GatepassInterceptor(private val session: Session) : Interceptor {
    override fun intercept(chain: Interceptor.Chain): Response {
        val request = chain.request()
        val api = session.apis.firstOrNull { it.isOf(request.url) }
        if (api == null || request.header(AUTHORIZATION) != null) return chain.proceed(request)
        val token = tokenFor(request.url, api) ?: return chain.proceed(request)
        val answer = chain.proceed(request.with(token))
        if (answer.code != UNAUTHORIZED || request.body?.isOneShot() == true) return answer
        val newer = try {
            waiting {
                val challenges = answer.headers("WWW-Authenticate")
                session.reauthorize(request.url.toString(), token, answer.code, challenges)
            }
        } catch (e: Throwable) {
            // Nobody gets the answer, so nobody else closes it.
            answer.close()
            throw e
        }
        if (newer == null) return answer
        answer.close()
        return chain.proceed(request.with(newer))
    }

    private fun tokenFor(url: HttpUrl, api: ApiOrigin): AccessToken? {
        val atHand = if (api.takesOwnToken) session.peekFresh() else null
        return atHand ?: waiting { session.authorize(url.toString()) }
    }

    private fun <T> waiting(call: suspend () -> T): T = try {
        runBlocking { call() }
    } catch (e: GatepassException) {
        throw GatepassIOException(e)
    } catch (e: InterruptedException) {
        // OkHttp's own word for a thread that is interrupted.
        Thread.currentThread().interrupt()
        throw java.io.InterruptedIOException("interrupted")
    }

    private fun Request.with(token: AccessToken): Request =
        newBuilder().header(AUTHORIZATION, "Bearer ${token.value}").build()

    private fun ApiOrigin.isOf(url: HttpUrl): Boolean =
        port == url.port && host == url.host && scheme == url.scheme

    private companion object {
        const val AUTHORIZATION = "Authorization"
        const val UNAUTHORIZED = 401
    }
}
