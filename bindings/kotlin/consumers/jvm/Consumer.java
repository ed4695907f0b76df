// A desktop app in Java on nothing but gatepass-jvm: signs in at the test server, calls the API, signs out.

import io.gatepass.AllowHttpOnLoopback;
import io.gatepass.Gatepass;
import io.gatepass.GatepassJvm;
import io.gatepass.PendingSignIn;
import io.gatepass.Session;
import io.gatepass.SessionStorage;
import io.gatepass.SignOut;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URLEncoder;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public final class Consumer {
    public static void main(String[] arguments) throws Exception {
        String issuer = arguments[0];
        Gatepass gatepass = GatepassJvm.create(
            "com.example.consumer", issuer, "gatepass-test", "http://127.0.0.1/callback", issuer, config -> {
                config.setStorage(SessionStorage.memory());
                config.setScopes(java.util.Arrays.asList("openid", "profile", "offline_access"));
                config.allowHttpOnLoopback(AllowHttpOnLoopback.INSTANCE);
                return kotlin.Unit.INSTANCE;
            });
        PendingSignIn pending = gatepass.beginSignInFuture().get(30, TimeUnit.SECONDS);
        signInAsAlice(pending.getAuthorizationUrl());
        Session session = pending.awaitFuture().get(30, TimeUnit.SECONDS);
        String token = session.accessTokenFuture().get(30, TimeUnit.SECONDS).getValue();
        HttpURLConnection api = (HttpURLConnection) URI.create(issuer + "/api/me").toURL().openConnection();
        api.setRequestProperty("Authorization", "Bearer " + token);
        if (api.getResponseCode() != 200) throw new AssertionError("the API says " + api.getResponseCode());
        session.signOutFuture(SignOut.REVOKE).get(30, TimeUnit.SECONDS);
        if (session.peek() != null) throw new AssertionError("a token after the end");
        System.out.println("signed in as alice, and out");
        System.exit(0);
    }

    /** What a person does in the browser. */
    private static void signInAsAlice(String url) throws Exception {
        HttpURLConnection login = (HttpURLConnection) URI.create(url).toURL().openConnection();
        String page = new String(read(login.getInputStream()));
        String form = "page=" + URLEncoder.encode(find(page, "name=\"page\" value=\"([^\"]*)\""), "UTF-8")
            + "&username=alice&password=wonderland-42&action=sign-in";
        URI action = URI.create(url).resolve(find(page, "action=\"([^\"]*)\""));
        HttpURLConnection posted = (HttpURLConnection) action.toURL().openConnection();
        posted.setDoOutput(true);
        posted.setInstanceFollowRedirects(true);
        posted.getOutputStream().write(form.getBytes());
        if (posted.getResponseCode() != 200) throw new AssertionError("the redirect says " + posted.getResponseCode());
    }

    private static byte[] read(InputStream stream) throws Exception {
        try (InputStream all = stream) {
            return all.readAllBytes();
        }
    }

    private static String find(String page, String pattern) {
        Matcher matcher = Pattern.compile(pattern).matcher(page);
        if (!matcher.find()) throw new AssertionError("no " + pattern + " in " + page);
        return matcher.group(1).replace("&amp;", "&");
    }
}
