import CLinux
import Foundation
import LineEndpoint
import Linux
import SSH
import Testing

@testable import AttachClient

/// Keys that an agent has, and those of files.
@Suite("Attach client: agents and identities", .serialized) struct AgentTests {
    private let primary = AttachOptions.Purpose.attach(session: "", stdoutFrom: "", stderrFrom: "")

    private func seed(_ number: UInt8) throws -> PrivateKey { try PrivateKey(ed25519Seed: [UInt8](repeating: number, count: 32)) }

    // MARK: OpenSSH's agent

    @Test("OpenSSH's agent signs with each type of key, and the guest lets the client in", arguments: ["ed25519", "ecdsa", "rsa"])
    func agent(_ type: String) throws {
        let bed = try AgentBed()
        let others = ["ed25519", "ecdsa", "rsa"].filter { $0 != type }
        for name in others + [type] { try bed.makeKey(name, type: name) }
        try bed.shell("ssh-add \((others + [type]).joined(separator: " "))")
        let guest = try ModelGuest(.init(), authorized: try bed.publicKey(type))
        var target = try guest.target()
        target.identities = try Identities(named: [], standard: [], agent: bed.socket)
        #expect(target.identities.keys.map { $0.publicKey } == (try (others + [type]).map { try bed.publicKey($0) }))
        let run = try ClientRun(target, primary)
        #expect(run.outcome == .exited(0), "\(run.error?.description ?? "")")
    }

    @Test("a file with a passphrase, and a public half alone, are used through the agent, before the agent's other keys")
    func order() throws {
        let bed = try AgentBed()
        for name in ["plain", "halved", "other"] { try bed.makeKey(name, type: "ed25519") }
        try bed.makeKey("locked", type: "ed25519", phrase: AgentBed.phrase)
        try bed.makeKey("pem", type: "rsa", phrase: AgentBed.phrase, options: "-m PEM")
        for name in ["other", "halved", "locked", "pem"] { try bed.shell("ssh-add \(name)") }
        try bed.shell("rm halved locked.pub")
        let path = { (name: String) in "\(bed.directory)/\(name)" }
        let identities = try Identities(
            named: ["locked", "plain", "halved", "pem"].map(path), standard: [path("nothing")], agent: bed.socket)
        let expected = try ["plain", "halved", "pem", "other"].map { try bed.publicKey($0) }
        #expect(identities.keys.dropFirst().map { $0.publicKey } == expected && identities.remarks == [])
        #expect(identities.keys.map { if case .held = $0 { true } else { false } } == [false, true, false, false, false])
        // What is readable is signed with here.
        let both = try Identities(named: [path("other")], standard: [], agent: bed.socket)
        guard case .held? = both.keys.first else {
            Issue.record("\(both)")
            return
        }
        #expect(both.keys.filter { $0.publicKey == both.keys[0].publicKey }.count == 1)
    }

    @Test("what cannot be used says what to do: named files at once, others when the log-in fails")
    func advice() throws {
        let bed = try AgentBed()
        try bed.makeKey("locked", type: "ed25519", phrase: AgentBed.phrase)
        let path = "\(bed.directory)/locked"
        func failure(_ agent: String?) -> String {
            do throws(AttachError) {
                _ = try Identities(named: [path], standard: [], agent: agent)
                return ""
            } catch { return error.description }
        }
        let absent = "it has a passphrase, and the agent does not have it; ssh-add \(path) adds it"
        let alone = "it has a passphrase, and there is no agent (SSH_AUTH_SOCK): start ssh-agent; ssh-add \(path) adds it"
        #expect(failure(bed.socket) == "use the private key \(path): \(absent)")
        #expect(failure(nil) == "use the private key \(path): \(alone)")
        #expect(failure("\(bed.directory)/gone").hasSuffix("connect to the SSH agent at \(bed.directory)/gone: \(Errno(rawValue: ENOENT))"))
        let guest = try ModelGuest(.init())
        var target = try guest.target()
        target.identities = try Identities(named: [], standard: [path, "\(bed.directory)/nothing"], agent: bed.socket)
        #expect(target.identities.keys.isEmpty)
        let error = try ClientRun(target, primary).error?.description ?? ""
        #expect(error.hasSuffix("no key was offered; \(path): \(absent)"), "\(error)")
        // What is no key is not an encrypted one.
        let cut = ["-----BEGIN OPENSSH PRIVATE KEY-----", "AAAA", "-----END OPENSSH PRIVATE KEY-----"].joined(separator: "\n")
        try bed.shell("echo nonsense >nonsense; echo '\(cut)' >cut")
        for name in ["nonsense", "cut", "absent"] {
            let file = "\(bed.directory)/\(name)"
            let error = #expect(throws: AttachError.self) { _ = try Identities(named: [file], standard: [], agent: nil) }
            #expect(error?.description.contains("passphrase") == false && error?.description.contains(name) == true)
        }
    }

    // MARK: Agents that are not as they should be

    /// Logs in with a key that an agent has, and gives the end of what went wrong.
    private func logIn(_ agent: FakeAgent, key: PrivateKey, patience: Int64 = 20_000) throws -> (failure: String, isIn: Bool) {
        let guest = try ModelGuest(.init(), authorized: key.publicKey)
        var target = try guest.target()
        target.identities = Identities(keys: [.elsewhere(key.publicKey)])
        target.identities.agent = agent.path
        target.identities.signatureMilliseconds = patience
        let run = try ClientRun(target, primary)
        #expect(guest.connections == 1)
        return (run.error?.description ?? "", run.outcome == .exited(0))
    }

    @Test("an agent that refuses, hangs up, lies or floods is told of, and does not let anyone in")
    func faults() throws {
        let key = try seed(9)
        let path = { (agent: FakeAgent) in "the SSH agent at \(agent.path)" }
        func sign(_ with: PrivateKey, flips: Bool = false) -> (FakeAgent.Question) -> [UInt8]? {
            { question in
                let algorithm = with.publicKey.algorithm
                guard var signature = try? with.sign(question.data, algorithm: algorithm, random: .thisMachine) else { return nil }
                if flips { signature[signature.count - 1] ^= 1 }
                return FakeAgent.signature(signature)
            }
        }
        #expect(try logIn(try FakeAgent(sign(key)), key: key).isIn)
        let wrong = "what was made is no signature of it by ssh-ed25519"
        let cases: [((FakeAgent.Question) -> [UInt8]?, (FakeAgent) -> String)] = [
            ({ _ in [0, 0, 0, 1, 5] }, { _ in "the agent does not sign by it" }),
            ({ _ in [] }, { "ask \(path($0)): it closes the connection without an answer" }),
            (sign(try seed(1)), { _ in wrong }), (sign(key, flips: true), { _ in wrong }),
            (sign(try bedKey("ecdsa")), { _ in wrong }),
            ({ _ in FakeAgent.signature([]) }, { _ in wrong }),
            ({ _ in [0, 4, 0, 1, 14] }, { _ in "read the agent's answer: it has 262145 bytes, and 262144 are the most" }),
            ({ _ in [255, 255, 255, 255] }, { _ in "read the agent's answer: it has 4294967295 bytes, and 262144 are the most" }),
            ({ _ in [0, 0, 0, 1, 5, 0] }, { _ in "read the agent's answer: something follows it" }),
            ({ _ in [0, 0, 0, 0] }, { _ in "read the agent's answer: message without a number is none" }),
            ({ _ in [0, 0, 0, 1, 6] }, { _ in "read the agent's answer: message 6 is none" }),
            ({ _ in [0, 0, 0, 5, 14, 0, 0, 0, 1] }, { _ in "read the agent's answer: its fields are not those of message 14" }),
            // A list is no signature.
            ({ _ in [0, 0, 0, 5, 12, 0, 0, 0, 0] }, { _ in "the agent does not sign by it" }),
        ]
        for (answer, expected) in cases {
            let agent = try FakeAgent(answer)
            let (failure, isIn) = try logIn(agent, key: key)
            let cause = "the server asks for publickey, and \(key.publicKey.fingerprint) cannot be used: \(expected(agent))"
            #expect(!isIn && failure == "SSH connection: log in as container: \(cause)")
        }
    }

    private func bedKey(_ type: String) throws -> PrivateKey {
        let bed = try AgentBed()
        try bed.makeKey("key", type: type)
        return try PrivateKey(text: try String(contentsOfFile: "\(bed.directory)/key", encoding: .utf8))
    }

    @Test("an agent that says nothing is given up in time, and the next key is tried")
    func silence() throws {
        let (key, other) = (try seed(9), try seed(8))
        let mute = try FakeAgent { _ in nil }
        let start = Clock.monotonic()
        let (failure, _) = try logIn(mute, key: key, patience: 300)
        #expect(failure.hasSuffix("ask the SSH agent at \(mute.path): it did not answer in time"))
        #expect(Clock.monotonic() - start < 20_000_000_000)
        let guest = try ModelGuest(.init(), authorized: other.publicKey)
        var target = try guest.target()
        target.identities = Identities(keys: [.elsewhere(key.publicKey), .held(other)])
        target.identities.agent = mute.path
        #expect(try ClientRun(target, primary).outcome == .exited(0))
        // The list, too.
        let listed = try Identities(named: [], standard: [], agent: mute.path, milliseconds: 200)
        #expect(listed.keys.isEmpty && listed.remarks == ["ask the SSH agent at \(mute.path): it did not answer in time"])
    }

    @Test("the guest is asked whether a key would do before the agent is: it may ask a person")
    func asksFirst() throws {
        let (key, strange) = (try seed(9), try seed(3))
        let agent = try FakeAgent { question in
            guard let signature = try? key.sign(question.data, algorithm: "ssh-ed25519", random: .thisMachine) else { return nil }
            return FakeAgent.signature(signature)
        }
        let guest = try ModelGuest(.init(), authorized: key.publicKey)
        var target = try guest.target()
        target.identities = Identities(keys: [.elsewhere(strange.publicKey), .elsewhere(key.publicKey)])
        target.identities.agent = agent.path
        #expect(try ClientRun(target, primary).outcome == .exited(0))
        #expect(agent.questions.map { $0.key } == [key.publicKey.blob])
    }

    // MARK: The messages

    @Test("questions are those of the draft, with the hash that RSA is to sign by")
    func questions() throws {
        #expect(AgentRequest.identities.frame == [0, 0, 0, 1, 11])
        let key = try seed(1).publicKey
        for (algorithm, flag) in [("rsa-sha2-512", 4), ("rsa-sha2-256", 2), ("ssh-rsa", 0), ("ssh-ed25519", 0)] as [(String, UInt8)] {
            let frame = AgentRequest.signature(SignatureRequest(key: key, algorithm: algorithm, data: [1, 2, 3])).frame
            let blob = key.blob
            #expect(frame == [0, 0, 0, 67, 13, 0, 0, 0, 51] + blob + [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, flag])
        }
    }

    @Test("a list leaves out what is no key that is supported, and a count that lies is an error")
    func lists() throws {
        let key = try seed(1).publicKey
        func list(_ count: UInt32, _ blobs: [[UInt8]]) -> [UInt8] {
            var writer = WireWriter(message: 12)
            writer.uint32(count)
            for blob in blobs {
                writer.string(blob)
                writer.text("a comment")
            }
            return writer.bytes
        }
        var certificate = WireWriter()
        certificate.text("ssh-ed25519-cert-v01@openssh.com")
        #expect(try AgentAnswer(list(3, [certificate.bytes, key.blob, key.blob])) == .identities([key]))
        #expect(try AgentAnswer(list(0, [])) == .identities([]))
        for bad in [list(2, [key.blob]), list(.max, [key.blob]), list(0, [key.blob]), [12], [12, 0, 0], list(1, [key.blob]) + [0]] {
            #expect(throws: AgentError.self) { try AgentAnswer(bad) }
        }
    }

    @Test("an answer is put together from any pieces")
    func pieces() throws {
        let message = noise(5000, seed: 4)
        let frame = [0, 0, 0x13, 0x88] + message
        for size in [1, 2, 3, 4, 5, 999, 5004] {
            var reader = AgentFrame()
            var result: [UInt8]?
            for start in stride(from: 0, to: frame.count, by: size) {
                #expect(result == nil)
                result = try reader.receive(frame[start..<min(frame.count, start + size)])
            }
            #expect(result == message)
        }
    }
}
