// An Android app in Java, as far as it goes without a phone. `main` runs on the JVM, shrunk and renamed.

import android.app.Activity;
import android.content.Context;
import io.gatepass.Gatepass;
import io.gatepass.GatepassAndroid;
import io.gatepass.GatepassConfig;
import io.gatepass.Session;
import io.gatepass.SignInOptions;
import java.util.concurrent.CompletableFuture;

public final class Caller {
    /** What an app writes. */
    static Gatepass make(Context context) {
        return GatepassAndroid.create(
            context, "https://login.example.com", "my-app", "https://app.example.com/callback", "https://api.example.com");
    }

    /** What an app writes. */
    static CompletableFuture<String> signIn(Gatepass gatepass, Activity activity) {
        CompletableFuture<Session> session = GatepassAndroid.signInFuture(gatepass, activity, new SignInOptions());
        return session.thenCompose(Session::accessTokenFuture).thenApply(token -> token.getValue());
    }

    public static void main(String[] arguments) {
        // The way to the native library and back, by names that the rules keep.
        GatepassConfig config = new GatepassConfig("https://login.example.com", "my-app");
        config.setRedirect("nonsense");
        try {
            new Gatepass(config);
            throw new AssertionError("taken");
        } catch (Exception e) {
            // To Java every exception of Kotlin's is a surprise.
            System.out.println(e.getClass().getName() + ": " + ((io.gatepass.GatepassException) e).getCode());
        }
        config.setRedirect("https://app.example.com/callback");
        Gatepass gatepass = new Gatepass(config);
        // A callback from the native library: what is in memory is nobody.
        System.out.println("session: " + gatepass.sessionFuture().join());
        System.out.println("state: " + gatepass.getState().getValue().getClass().getName());
        if (arguments.length > 0) {
            // Never: it is here so that what Android calls is not shrunk away.
            signIn(make(null), null);
        }
        System.exit(0);
    }
}
