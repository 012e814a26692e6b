import SSH
import Testing

/// The two sides of RFC 4252 against each other, and each against what it should refuse.
@Suite struct AuthenticationTests {
    static let session = [UInt8](repeating: 9, count: 32)
    static var random: RandomSource { RandomSource { [UInt8](repeating: 4, count: $0) } }
    static let ed25519 = try? PrivateKey(ed25519Seed: [UInt8](repeating: 1, count: 32))
    static let ecdsa = try? PrivateKey(ecdsaP256Scalar: [UInt8](repeating: 2, count: 32))

    private func key() throws -> PrivateKey { try #require(Self.ed25519) }
    private func other() throws -> PrivateKey { try PrivateKey(ed25519Seed: [UInt8](repeating: 3, count: 32)) }

    private func server(_ change: (inout AuthenticationRules) -> Void = { _ in }) throws -> ServerAuthentication {
        var rules = AuthenticationRules()
        rules.authorizedKeys = [Self.ed25519, Self.ecdsa].compactMap { $0.map { AuthorizedKey($0.publicKey) } }
        change(&rules)
        return ServerAuthentication(rules, sessionID: Self.session)
    }

    /// A server that has accepted the service.
    private func ready(_ change: (inout AuthenticationRules) -> Void = { _ in }) throws -> ServerAuthentication {
        var server = try server(change)
        try server.receive([5] + wired("ssh-userauth"))
        #expect(server.nextPayload() == [6] + wired("ssh-userauth"))
        return server
    }

    private func request(_ method: String, user: String = "someone", service: String = "ssh-connection", _ rest: [UInt8] = []) -> [UInt8] {
        [50] + wired(user) + wired(service) + wired(method) + rest
    }

    /// A `publickey` request, signed by `signer` for `session`.
    private func signed(
        _ key: PrivateKey, user: String = "someone", signer: PrivateKey? = nil, session: [UInt8] = session, signedUser: String? = nil
    ) throws -> [UInt8] {
        func body(_ user: String) -> [UInt8] {
            var writer = WireWriter()
            writer.raw(request("publickey", user: user, [1] + wired(key.publicKey.algorithm)))
            writer.string(key.publicKey.blob)
            return writer.bytes
        }
        var data = WireWriter()
        data.string(session)
        data.raw(body(signedUser ?? user))
        var writer = WireWriter()
        writer.raw(body(user))
        writer.string(try (signer ?? key).sign(data.bytes, algorithm: (signer ?? key).publicKey.algorithm, random: Self.random))
        return writer.bytes
    }

    private func query(_ key: PrivateKey, algorithm: String? = nil, user: String = "someone") -> [UInt8] {
        var writer = WireWriter()
        writer.raw(request("publickey", user: user, [0] + wired(algorithm ?? key.publicKey.algorithm)))
        writer.string(key.publicKey.blob)
        return writer.bytes
    }

    private func failure(_ server: inout ServerAuthentication, _ payload: [UInt8]) -> SSHError? {
        do throws(SSHError) {
            try server.receive(payload)
            return nil
        } catch {
            return error
        }
    }

    private let refused: [UInt8] = [51] + wired("publickey") + [0]

    /// Carries messages until neither side has any more.
    private func run(
        _ client: inout ClientAuthentication, _ server: inout ServerAuthentication
    ) throws(SSHError) {
        while true {
            if let payload = client.nextPayload() {
                try server.receive(payload)
            } else if let payload = server.nextPayload() {
                try client.receive(payload, signatureAlgorithms: Transport.userSignatureAlgorithms)
            } else {
                return
            }
        }
    }

    @Test func eachTypeOfKeyLogsIn() throws {
        for key in try [#require(Self.ed25519), #require(Self.ecdsa)] {
            var server = try server()
            var client = ClientAuthentication(user: "anyone", keys: [try other(), key], sessionID: Self.session, random: Self.random)
            try run(&client, &server)
            #expect(client.isComplete)
            let login = try #require(server.login)
            #expect(login == Login(user: "anyone", method: "publickey", key: AuthorizedKey(key.publicKey)))
            // What was on its way is ignored.
            try server.receive(request("none"))
            #expect(server.nextPayload() == nil)
            #expect(failure(&server, [5] + wired("ssh-userauth"))?.reason == .serviceNotAvailable)
        }
    }

    @Test func aKeyIsAskedAboutFirst() throws {
        var server = try ready()
        try server.receive(query(try key()))
        var answer = WireWriter(message: 60)
        answer.text("ssh-ed25519")
        answer.string(try key().publicKey.blob)
        #expect(server.nextPayload() == answer.bytes)
        #expect(server.login == nil)
        try server.receive(try signed(try key()))
        #expect(server.nextPayload() == [52])
        #expect(server.login?.key?.key == (try key().publicKey))
    }

    @Test func everyFailureLooksTheSame() throws {
        let (key, other) = (try key(), try other())
        let requests = try [
            signed(other), query(other), signed(key, signer: other), signed(key, session: [UInt8](repeating: 8, count: 32)),
            signed(key, signedUser: "root"), query(key, algorithm: "ecdsa-sha2-nistp256"), query(key, algorithm: "rsa-sha2-256"),
            request("password", [0] + wired("secret")), request("keyboard-interactive", wired("") + wired("")), request("hostbased"),
        ]
        for request in requests {
            var server = try ready()
            try server.receive(request)
            #expect(server.nextPayload() == refused)
            #expect(server.nextPayload() == nil)
            #expect(server.login == nil)
        }
    }

    @Test func attemptsAreCounted() throws {
        var server = try ready()
        // How clients learn the methods; a second time it is an attempt.
        for count in 0..<6 {
            try server.receive(count == 1 ? request("none") : count == 0 ? request("none") : signed(try other()))
            #expect(server.nextPayload() == refused)
        }
        let error = failure(&server, try signed(try other()))
        #expect(error == SSHError(.noMoreAuthenticationMethods, "authenticate", "someone", "6 attempts have failed"))
        #expect(server.nextPayload() == nil)
    }

    /// A question about a good key is no failure, but a server does not answer questions for ever.
    @Test func questionsAreCounted() throws {
        var server = try ready()
        var answers = 0
        var error: SSHError?
        while error == nil, answers < 1000 {
            error = failure(&server, query(try key()))
            if error == nil { answers += 1 }
        }
        // The request for the service was one, too.
        #expect(answers == 23)
        #expect(error?.description == "authenticate someone: there are too many requests, and none of them will do")
    }

    /// Each has an answer, and a client that takes none must not fill the memory with them.
    @Test func requestsForTheServiceAreCounted() throws {
        var server = try server()
        var error: SSHError?
        var count = 0
        while error == nil, count < 10_000 {
            count += 1
            error = failure(&server, [5] + wired("ssh-userauth"))
        }
        #expect(count == 25 && error?.reason == .noMoreAuthenticationMethods)
    }

    @Test func noneWhereTheRulesSaySo() throws {
        var open = try ready { $0.allowsNone = true }
        try open.receive(request("none"))
        #expect(open.nextPayload() == [52])
        #expect(open.login == Login(user: "someone", method: "none", key: nil))
        var closed = try ready()
        try closed.receive(request("none"))
        #expect(closed.login == nil)
        // A user name that is only like the open one.
        for user in ["daemon2", "Daemon", "daemon\u{0}", ""] {
            var server = try ready { $0.openUser = "daemon" }
            try server.receive(request("none", user: user))
            #expect(server.login == nil)
        }
    }

    @Test func anOpenUserMayOfferAnything() throws {
        for request in [
            request("none", user: "daemon"), request("password", user: "daemon", [0] + wired("secret")),
            try signed(try other(), user: "daemon"),
        ] {
            var server = try ready { $0.openUser = "daemon" }
            try server.receive(request)
            #expect(server.nextPayload() == [52])
            #expect(server.login?.user == "daemon" && server.login?.key == nil)
        }
        var server = try ready { $0.openUser = "daemon" }
        try server.receive(query(try other(), user: "daemon"))
        #expect(server.nextPayload()?.first == 60)
        #expect(server.login == nil)
        // A key that is known is proved all the same, and its restrictions are known.
        try server.receive(try signed(try key(), user: "daemon"))
        #expect(server.login?.key?.key == (try key().publicKey))
    }

    @Test func aBannerComesOnceAndFirst() throws {
        var server = try ready { $0.banner = "hello" }
        try server.receive(request("none"))
        #expect(server.nextPayload() == [53] + wired("hello") + wired(""))
        #expect(server.nextPayload() == refused)
        try server.receive(query(try other()))
        #expect(server.nextPayload() == refused)
    }

    @Test func whatEndsTheConnection() throws {
        let key = try key()
        let long = String(repeating: "u", count: 257)
        let cases: [(payload: [UInt8], reason: SSHError.Reason)] = [
            ([5] + wired("ssh-connection"), .serviceNotAvailable), ([5], .protocolError), ([6] + wired("ssh-userauth"), .protocolError),
            (request("none", user: long), .illegalUserName), (request("none", service: "ssh-other"), .serviceNotAvailable),
            ([51] + wired("") + [0], .protocolError), ([52], .protocolError), ([60], .protocolError),
            ([90], .protocolError), ([], .protocolError), ([50], .protocolError),
            (Array(query(key).dropLast()), .protocolError), (query(key) + [0], .protocolError),
            (Array(try signed(key).dropLast()), .protocolError),
        ]
        for one in cases {
            var server = try ready()
            #expect(failure(&server, one.payload)?.reason == one.reason, "\(one.payload.prefix(40))")
        }
        // Nothing goes without the service.
        var server = try server()
        #expect(failure(&server, request("none"))?.reason == .protocolError)
    }

    // MARK: The client

    private func begun(_ keys: [PrivateKey]) throws -> ClientAuthentication {
        var client = ClientAuthentication(user: "someone", keys: keys, sessionID: Self.session, random: Self.random)
        #expect(client.nextPayload() == [5] + wired("ssh-userauth"))
        try client.receive([6] + wired("ssh-userauth"), signatureAlgorithms: nil)
        #expect(client.nextPayload() == request("none"))
        return client
    }

    private func failure(_ client: inout ClientAuthentication, _ payload: [UInt8]) -> String? {
        do throws(SSHError) {
            try client.receive(payload, signatureAlgorithms: Transport.userSignatureAlgorithms)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func theClientSaysWhatWasRefused() throws {
        var server = try server()
        var client = ClientAuthentication(user: "someone", keys: [try other()], sessionID: Self.session, random: Self.random)
        let error = #expect(throws: SSHError.self) { try run(&client, &server) }
        let fingerprint = try other().publicKey.fingerprint
        #expect(error?.description == "log in as someone: the server asks for publickey, and it does not take \(fingerprint)")
        var without = try begun([])
        #expect(failure(&without, refused) == "log in as someone: the server asks for publickey, and no key was offered")
        var password = try begun([try key()])
        #expect(
            failure(&password, [51] + wired("password,hostbased") + [0])
                == "log in as someone: the server asks for password, hostbased, and no key was offered")
        var nothing = try begun([try key()])
        #expect(
            failure(&nothing, [51] + wired("") + [0])
                == "log in as someone: the server asks for nothing that there is, and no key was offered")
    }

    /// Only algorithms that the server says it takes are tried.
    @Test func theClientSignsByWhatTheServerTakes() throws {
        var client = try begun([try key(), try #require(Self.ecdsa)])
        try client.receive(refused, signatureAlgorithms: ["ecdsa-sha2-nistp256", "rsa-sha2-256"])
        #expect(client.nextPayload()?.prefix(200).starts(with: request("publickey", [1] + wired("ecdsa-sha2-nistp256"))) == true)
    }

    /// SHA-1 proves nothing any more: not where the server wants it, and not where it does not say what it wants.
    @Test func theClientDoesNotSignWithSHA1() throws {
        let rsa = try PrivateKey(text: shortRSAKey)
        #expect(rsa.signatureAlgorithms == ["rsa-sha2-256", "ssh-rsa"])
        var client = try begun([rsa])
        try client.receive(refused, signatureAlgorithms: nil)
        #expect(client.nextPayload()?.starts(with: request("publickey", [1] + wired("rsa-sha2-256"))) == true)
        var old = try begun([rsa, try key()])
        try old.receive(refused, signatureAlgorithms: ["ssh-rsa", "ssh-ed25519"])
        #expect(old.nextPayload()?.starts(with: request("publickey", [1] + wired("ssh-ed25519"))) == true)
        let (offered, unfit) = (try key().publicKey.fingerprint, rsa.publicKey.fingerprint)
        let tried = "it does not take \(offered); for \(unfit) there is no algorithm that both sides have"
        #expect(failure(&old, refused) == "log in as someone: the server asks for publickey, and \(tried)")
    }

    /// A key whose private half is elsewhere is asked about first, and its signature is checked before it is sent.
    @Test func theClientHasSignaturesMadeElsewhere() throws {
        let (key, next) = (try key(), try other())
        func begun() throws -> ClientAuthentication {
            var client = ClientAuthentication(
                user: "someone", clientKeys: [.elsewhere(key.publicKey), .held(next)], sessionID: Self.session, random: Self.random)
            _ = client.nextPayload()
            try client.receive([6] + wired("ssh-userauth"), signatureAlgorithms: nil)
            _ = client.nextPayload()
            try client.receive(refused, signatureAlgorithms: Transport.userSignatureAlgorithms)
            #expect(client.nextPayload() == query(key))
            return client
        }
        let taken = [60] + wired("ssh-ed25519") + field(key.publicKey.blob)
        // What has no place before the answer, or names another key, ends the connection.
        let others = [[60], [60] + wired("ssh-rsa") + field(key.publicKey.blob), taken + [0], [60] + wired("ssh-ed25519") + wired("x")]
        for payload in others {
            var client = try begun()
            let refusal = failure(&client, payload)
            let request = client.takeSignatureRequest()
            #expect(refusal != nil && request == nil, "\(payload)")
        }
        var client = try begun()
        try client.receive(taken, signatureAlgorithms: nil)
        let first = client.takeSignatureRequest()
        let (second, payload) = (client.takeSignatureRequest(), client.nextPayload())
        let request = try #require(first)
        #expect(request.key == key.publicKey && request.algorithm == "ssh-ed25519" && second == nil && payload == nil)
        // Nothing but a banner has a place while the signature is made.
        for payload: [UInt8] in [taken, refused, [52]] {
            var other = client
            #expect(failure(&other, payload) != nil, "\(payload)")
        }
        try client.receive([53] + wired("hello") + wired(""), signatureAlgorithms: nil)
        var unwilling = client
        try unwilling.giveUpSignature("no")
        #expect(unwilling.nextPayload()?.starts(with: beginning(next)) == true)
        var forged = client
        try forged.provide(signature: try next.sign(request.data, algorithm: "ssh-ed25519", random: Self.random))
        #expect(forged.nextPayload()?.starts(with: beginning(next)) == true)
        try client.provide(signature: try key.sign(request.data, algorithm: "ssh-ed25519", random: Self.random))
        #expect(client.nextPayload() == (try signed(key)))
        // One that nobody asked for is nothing.
        try client.provide(signature: [1])
        try client.giveUpSignature("no")
        #expect(client.nextPayload() == nil)
        let error = failure(&unwilling, refused) ?? ""
        let end = "it does not take \(next.publicKey.fingerprint); \(key.publicKey.fingerprint) cannot be used: no"
        #expect(error == "log in as someone: the server asks for publickey, and \(end)")
    }

    private func field(_ bytes: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.string(bytes)
        return writer.bytes
    }

    /// How a request with the key begins.
    private func beginning(_ key: PrivateKey) -> [UInt8] {
        request("publickey", [1] + wired(key.publicKey.algorithm) + field(key.publicKey.blob))
    }

    @Test func theClientTakesOnlyWhatHasAPlace() throws {
        for payload: [UInt8] in [[60], [50], [80], [90], [], [52, 0], [51], [51, 0, 0, 0, 0], [53, 0], [6] + wired("ssh-userauth")] {
            var client = try begun([try key()])
            #expect(failure(&client, payload) != nil, "\(payload)")
        }
        var early = ClientAuthentication(user: "someone", keys: [], sessionID: Self.session, random: Self.random)
        #expect(failure(&early, [52]) != nil)
        var other = ClientAuthentication(user: "someone", keys: [], sessionID: Self.session, random: Self.random)
        #expect(failure(&other, [6] + wired("ssh-connection")) != nil)
    }

    @Test func bannersAreShownWithinReason() throws {
        var client = try begun([])
        try client.receive([53] + wired("one\u{1b}[2J\ntwo") + wired("en"), signatureAlgorithms: nil)
        #expect(client.banner == "one [2J\ntwo\n")
        for _ in 0..<1000 { try client.receive([53] + wired(String(repeating: "x", count: 30_000)) + wired(""), signatureAlgorithms: nil) }
        #expect(client.banner.utf8.count < 10_000)
    }
}
