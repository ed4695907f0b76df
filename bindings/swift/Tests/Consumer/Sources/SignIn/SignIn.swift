// A desktop program, for tests/interop: signs in at a certified server through a real browser, and tells how it went, one JSON
// object a line.

import Foundation
import Gatepass

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// The person of the test reads the URL and opens it; the redirect comes back by the loopback listener.
struct PrintedURL: Browser {
    func open(_ url: URL, redirect _: String) async throws -> URL? {
        tell(["event": "authorization_url", "url": url.absoluteString])
        return nil
    }
}

func tell(_ event: [String: Any]) {
    guard let line = try? JSONSerialization.data(withJSONObject: event, options: [.sortedKeys]) else { return }
    FileHandle.standardOutput.write(line + Data("\n".utf8))
}

@main struct SignIn {
    /// Arguments: issuer, client id, a folder for the session, `built-in` or `url-session`, and what to do: `begin`, `share` or
    /// `end`.
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst().map { $0 }
        let (issuer, clientID, folder) = (arguments[0], arguments[1], arguments[2])
        let gatepass = try Gatepass(
            issuer: issuer, clientID: clientID, redirect: "http://127.0.0.1/callback", api: issuer
        ) {
            $0.scopes = ["openid", "profile", "offline_access"]
            $0.allow(AllowHTTPOnLoopback())
            $0.storage = .encryptedFiles(in: URL(fileURLWithPath: folder), key: .besideTheRecords)
            $0.transport = arguments[3] == "url-session" ? URLSessionTransport() : nil
            $0.browser = PrintedURL()
        }
        let wasThere = try await gatepass.session() != nil
        let session = try await gatepass.signIn()
        tell(["event": wasThere ? "found" : "signed_in", "subject": session.claims?.subject ?? ""])

        switch arguments[4] {
        case "begin":
            let before = try await session.accessToken()
            // Twenty at once are one request.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 { group.addTask { try await session.refresh() } }
                try await group.waitForAll()
            }
            tell(["event": "refreshed", "changed": try await session.accessToken() != before])
        case "share":
            // While another process does the same.
            for _ in 0..<5 { try await session.refresh() }
            tell(["event": "refreshed", "changed": true])
        default:
            guard let me = URL(string: "\(issuer)/me") else { return }
            let (_, answer) = try await session.data(for: URLRequest(url: me))
            tell(["event": "api_call", "status": (answer as? HTTPURLResponse)?.statusCode ?? 0])
            struct Person: Decodable { let name: String }
            tell(["event": "userinfo", "name": try await session.userinfo().decoded(as: Person.self).name])
            let signedOut = try await session.signOut()
            tell(["event": "signed_out", "revocation": "\(signedOut.revocation)", "state": "\(gatepass.state)"])
        }
        try await gatepass.drain()
    }
}
