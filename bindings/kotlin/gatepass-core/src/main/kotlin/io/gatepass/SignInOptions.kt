// What an app may ask for in one sign-in, and what a token is for.

package io.gatepass

import io.gatepass.ffi.FfiExtraParameter
import io.gatepass.ffi.FfiPrompt
import io.gatepass.ffi.FfiSignInOptions
import io.gatepass.ffi.FfiTarget

/** Whether and how the server is to involve the user (OpenID Connect Core §3.1.2.1). */
public enum class Prompt {
    /** Show no page; fail if one would be needed. Stands alone. */
    NONE,

    /** Ask the user to sign in again. */
    LOGIN,

    /** Ask for consent. A refresh token for `offline_access` needs it on many servers. */
    CONSENT,

    /** Let the user choose an account. */
    SELECT_ACCOUNT,

    /** Show the page for a new account. Sent only to a server that announces it; any other shows its usual page. */
    CREATE,
}

/**
 * What an app may ask for in one sign-in, beyond the client's configuration. What is wrong in it is told by
 * [Gatepass.signIn], as [GatepassException.Configuration].
 *
 * ```
 * gatepass.signIn(SignInOptions(prompt = listOf(Prompt.LOGIN), loginHint = "ada@example.com"))
 * ```
 *
 * From Java: the constructor without arguments, and the setters.
 */
public class SignInOptions @JvmOverloads constructor(
    /** The scope of this one sign-in, one token an item, instead of the client's. */
    public var scope: List<String>? = null,
    /**
     * How the server is to involve the user. Empty: `consent` is sent where `offline_access` is asked for, and nothing
     * otherwise.
     */
    public var prompt: List<Prompt> = emptyList(),
    /** Who is about to sign in: an e-mail address or a user name. The user may sign in as somebody else. */
    public var loginHint: String? = null,
    /** The oldest acceptable authentication, in seconds; 0 asks for a new one. The ID token must then say when it was. */
    public var maxAgeSeconds: Int? = null,
    /** The authentication contexts wanted, best first. The ID token must then name one of them. */
    public var acrValues: List<String> = emptyList(),
    /** Claims to ask for one by one: a JSON object as in OpenID Connect Core §5.5. */
    public var claimsJson: String? = null,
    /** The languages for the server's pages, best first, as BCP 47 tags such as `fr-CA`. */
    public var uiLocales: List<String> = emptyList(),
    /** The APIs that the access token is for, as absolute URIs without a fragment (RFC 8707 §2). */
    public var resources: List<String> = emptyList(),
    /** The audience, for servers that take it in a parameter of that name. */
    public var audience: String? = null,
) {
    private val extra = ArrayList<FfiExtraParameter>()

    /** A parameter that a particular server wants. Names that Gatepass sets itself are refused when the sign-in begins. */
    public fun extra(name: String, value: String): SignInOptions {
        extra += FfiExtraParameter(name, value)
        return this
    }

    internal fun toFfi() = FfiSignInOptions(
        scope = scope,
        prompt = prompt.map {
            when (it) {
                Prompt.NONE -> FfiPrompt.NONE
                Prompt.LOGIN -> FfiPrompt.LOGIN
                Prompt.CONSENT -> FfiPrompt.CONSENT
                Prompt.SELECT_ACCOUNT -> FfiPrompt.SELECT_ACCOUNT
                Prompt.CREATE -> FfiPrompt.CREATE
            }
        },
        loginHint = loginHint,
        // What is negative asks for no less than a new one.
        maxAgeSeconds = maxAgeSeconds?.coerceAtLeast(0)?.toUInt(),
        acrValues = acrValues,
        claimsJson = claimsJson,
        uiLocales = uiLocales,
        resources = resources,
        audience = audience,
        extra = extra.toList(),
    )
}

/**
 * What an access token is for, where a session has tokens for several APIs: certain APIs (RFC 8707), a narrower scope
 * (RFC 6749 §6), or both. All of them are had with one refresh token.
 */
public class Target @JvmOverloads constructor(
    /** The APIs, by the URIs that the server knows them by. */
    public val resources: List<String> = emptyList(),
    /** Only this scope, which must have been granted at sign-in. */
    public val scope: List<String>? = null,
) {
    override fun equals(other: Any?): Boolean = other is Target && other.resources == resources && other.scope == scope

    override fun hashCode(): Int = 31 * resources.hashCode() + scope.hashCode()

    override fun toString(): String = "Target(resources=$resources, scope=$scope)"

    internal fun toFfi() = FfiTarget(resources, scope)
}
