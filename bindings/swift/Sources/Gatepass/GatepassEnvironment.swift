// Signing in from a SwiftUI view.

#if canImport(SwiftUI)
    import SwiftUI

    /// Signs the user in: what a view finds in its environment as `signIn`, once a view above it says
    /// ``SwiftUICore/View/gatepass(_:)``.
    ///
    /// ```swift
    /// struct Welcome: View {
    ///     @Environment(\.signIn) private var signIn
    ///
    ///     var body: some View {
    ///         Button("Sign in") { Task { try await signIn() } }
    ///     }
    /// }
    /// ```
    public struct SignInAction: Sendable {
        let gatepass: Gatepass?

        /// As ``Gatepass/signIn()``.
        ///
        /// - Throws: ``GatepassError`` as that; `CancellationError` where no view above says which client.
        @discardableResult
        public func callAsFunction() async throws -> Session {
            guard let gatepass else {
                assertionFailure("no view above this one says .gatepass(…)")
                throw CancellationError()
            }
            return try await gatepass.signIn()
        }

        /// As ``Gatepass/signIn(with:)``.
        ///
        /// - Throws: As ``callAsFunction()``.
        @discardableResult
        public func callAsFunction(with options: SignInOptions) async throws -> Session {
            guard let gatepass else {
                assertionFailure("no view above this one says .gatepass(…)")
                throw CancellationError()
            }
            return try await gatepass.signIn(with: options)
        }
    }

    private struct SignInActionKey: EnvironmentKey {
        static let defaultValue = SignInAction(gatepass: nil)
    }

    extension EnvironmentValues {
        /// Signs the user in with the client that ``SwiftUICore/View/gatepass(_:)`` names.
        public var signIn: SignInAction {
            get { self[SignInActionKey.self] }
            set { self[SignInActionKey.self] = newValue }
        }
    }

    extension View {
        /// Gives the views below a client to sign in with, and hands it the links that open the app, which may be redirects.
        /// A link that belongs to no sign-in is left alone, for another `onOpenURL` to take.
        public func gatepass(_ gatepass: Gatepass) -> some View {
            environment(\.signIn, SignInAction(gatepass: gatepass))
                .onOpenURL { url in
                    // Whoever waits for the sign-in hears of its end, and so does `states`.
                    Task { try? await gatepass.resumeSignIn(with: url) }
                }
        }
    }
#endif
