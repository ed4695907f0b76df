// Requests to APIs: whose token, and how often.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

extension All {
    @Suite struct APICalls {
        private func request(_ url: String) throws -> URLRequest { URLRequest(url: try #require(URL(string: url))) }

        private func status(_ session: Session, _ request: URLRequest) async throws -> Int {
            try #require(try await session.data(for: request).1 as? HTTPURLResponse).statusCode
        }

        @Test func requestsToTheAPICarryTheTokenRefreshedInTime() async throws {
            let world = try World(virtualTime: true)
            let session = try await world.gatepass().signIn()
            let me = try request(world.server.apiUrl())
            #expect(try await status(session, me) == 200)
            #expect(world.tokenRequests == 1)
            world.server.advance(millis: UInt64(try #require(session.expiresIn) * 1000))
            #expect(try await status(session, me) == 200)
            #expect(world.tokenRequests == 2)
        }

        @Test func manyRefusalsAtOnceCostOneRefresh() async throws {
            let world = try World()
            let session = try await world.gatepass().signIn()
            let me = try request(world.server.apiUrl())
            world.server.revokeAccessTokens()
            let codes = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<20 { group.addTask { try await status(session, me) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(codes == Array(repeating: 200, count: 20))
            #expect(world.tokenRequests == 2)
        }

        @Test func otherOriginsSeeNoTokenNorDoesARequestThatBringsItsOwn() async throws {
            let world = try World()
            let session = try await world.gatepass().signIn()
            let other = try PlainServer { _ in "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n" }
            // A 401 of theirs refreshes nothing of ours.
            #expect(try await status(session, request("http://127.0.0.1:\(other.port)/api")) == 401)
            #expect(try await status(session, request("http://localhost:\(other.port)/api")) == 401)
            #expect(other.requests.count == 2)
            #expect(other.requests.allSatisfy { !$0.lowercased().contains("authorization") })
            var own = try request(world.server.apiUrl())
            own.setValue("Bearer mine", forHTTPHeaderField: "Authorization")
            #expect(try await status(session, own) == 401)
            #expect(world.tokenRequests == 1)
        }

        @Test func aURLThatOnlyLooksLikeTheAPIGetsNoToken() async throws {
            let world = try World()
            let session = try await world.gatepass { $0.allow(api: "https://api.example.com") }.signIn()
            for url in [
                "https://api.example.com.evil.example/", "https://api.example.com@evil.example/",
                "https://evil.example/https://api.example.com/", "http://api.example.com/", "https://api.example.com:8443/",
                "https://api.example.com%2f.evil.example/", "https://api.example.com%40evil.example/",
                "https://api.example.com\\@evil.example/", "https://xapi.example.com/", "https:/api.example.com/",
                "file://api.example.com/", "data:text/plain,https://api.example.com/",
            ] {
                guard let url = URL(string: url) else { continue }
                var request = URLRequest(url: url)
                #expect(try await !session.authorize(&request), "\(url)")
                #expect(request.value(forHTTPHeaderField: "Authorization") == nil)
            }
            for url in ["https://API.Example.com/x?y", "https://api.example.com:443/", "https://user@api.example.com/"] {
                var request = try request(url)
                #expect(try await session.authorize(&request), "\(url)")
            }
        }

        @Test func aRedirectToAnotherOriginIsFollowedWithoutTheToken() async throws {
            let world = try World()
            let elsewhere = try PlainServer { _ in "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }
            let api = try PlainServer { request in
                if request.hasPrefix("GET /home ") { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" }
                let to = request.hasPrefix("GET /away ") ? "http://127.0.0.1:\(elsewhere.port)/" : "/home"
                return "HTTP/1.1 302 Found\r\nLocation: \(to)\r\nContent-Length: 0\r\n\r\n"
            }
            let session = try await world.gatepass { $0.allow(api: "http://127.0.0.1:\(api.port)") }.signIn()
            #expect(try await status(session, request("http://127.0.0.1:\(api.port)/away")) == 200)
            #expect(elsewhere.requests.count == 1)
            #expect(elsewhere.requests.allSatisfy { !$0.lowercased().contains("authorization") })
            #expect(api.requests.allSatisfy { $0.contains("Bearer ") })
            #expect(try await status(session, request("http://127.0.0.1:\(api.port)/stay")) == 200)
            #expect(api.requests.count == 3)
            #expect(api.requests.allSatisfy { $0.contains("Bearer ") })
        }

        @Test func aBodyThatCanBeSentOnceIsSentOnceAndOneThatCanBeSentAgainIs() async throws {
            let world = try World()
            let api = try PlainServer { _ in
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\n\r\n"
            }
            let session = try await world.gatepass { $0.allow(api: "http://127.0.0.1:\(api.port)") }.signIn()
            var post = try request("http://127.0.0.1:\(api.port)/notes")
            post.httpMethod = "POST"
            post.httpBody = Data("again".utf8)
            #expect(try await status(session, post) == 401)
            #expect(api.requests.count == 2)
            #expect(world.tokenRequests == 2)
            var once = post
            once.httpBody = nil
            once.httpBodyStream = InputStream(data: Data("once".utf8))
            #expect(try await status(session, once) == 401)
            #expect(api.requests.count == 3)
            #expect(world.tokenRequests == 2)
        }

        @Test func aSessionThatIsOverFailsTheCall() async throws {
            let world = try World()
            let session = try await world.gatepass().signIn()
            try await session.signOut(.local)
            let me = try request(world.server.apiUrl())
            #expect(try await failure { try await session.data(for: me) }.kind == .sessionEnded(.signedOut))
        }
    }
}
