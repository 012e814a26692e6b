import Foundation
import LineEndpoint
import Linux
import SSH
import Testing

@testable import AttachClient

/// Who the guest is, who the client is, and questions to the container.
@Suite("Attach client: trust and requests", .serialized) struct TrustTests {
    private let primary = AttachOptions.Purpose.attach(session: "", stdoutFrom: "", stderrFrom: "")

    @Test("another host key than the given one is refused, by key and by fingerprint, and not tried again")
    func pinned() throws {
        let guest = try ModelGuest(.init())
        let key = try #require(ModelGuest.hostKey).publicKey
        let other = try PrivateKey(ed25519Seed: [UInt8](repeating: 1, count: 32)).publicKey
        for (policy, isTaken) in [
            (HostKeyPolicy.pinned(keys: [other, key], fingerprints: []), true), (.pinned(keys: [], fingerprints: [key.fingerprint]), true),
            (.pinned(keys: [other], fingerprints: [other.fingerprint]), false), (.pinned(keys: [], fingerprints: []), false),
        ] {
            var target = try guest.target()
            target.hostKeys = policy
            let before = guest.connections
            let run = try ClientRun(target, primary)
            #expect((run.outcome == .exited(0)) == isTaken)
            if isTaken { continue }
            #expect(run.error?.description.contains("the host key \(key.fingerprint) is not the one that was given") == true)
            #expect(guest.connections == before + 1)
        }
    }

    @Test("an unknown key is asked about and remembered; one that has changed is refused without a question")
    func knownHosts() throws {
        let directory = NSTemporaryDirectory() + "tether-known-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let file = KnownHosts(path: directory + "/tether/known_hosts")
        var asked = 0
        func run(_ guest: ModelGuest, _ answer: Bool, name: String = "vm:web 1") throws -> ClientRun {
            var target = try guest.target()
            target.hostKeys = .knownHosts(file, name: name) { _ in
                asked += 1
                return answer
            }
            return try ClientRun(target, primary)
        }
        let guest = try ModelGuest(.init())
        let refused = try run(guest, false)
        #expect(asked == 1 && refused.outcome == nil && refused.error?.description.contains("is not known") == true)
        #expect(!FileManager.default.fileExists(atPath: file.path))
        #expect(try run(guest, true).outcome == .exited(0))
        #expect(try run(guest, false).outcome == .exited(0))
        #expect(asked == 2)
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let text = try String(contentsOfFile: file.path, encoding: .utf8)
        #expect(text == "vm:web%201 \(try #require(ModelGuest.hostKey).publicKey.line)\n")
        // The same name with another key; another name is another VM.
        let changed = try ModelGuest(.init(), hostKey: try PrivateKey(ed25519Seed: [UInt8](repeating: 3, count: 32)))
        let run2 = try run(changed, true)
        #expect(asked == 2 && run2.outcome == nil && run2.error?.description.contains("has changed") == true)
        #expect(try run(changed, true, name: "vm:web 2").outcome == .exited(0))
    }

    @Test("a known name with a key of another type has changed; a guest with several keys is asked for the one that is known")
    func keyTypes() throws {
        let directory = NSTemporaryDirectory() + "tether-known-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let file = KnownHosts(path: directory + "/known_hosts")
        let first = try #require(ModelGuest.hostKey)
        let second = try PrivateKey(ecdsaP256Scalar: [UInt8](repeating: 5, count: 32))
        func run(_ guest: ModelGuest, _ policy: HostKeyPolicy) throws -> ClientRun {
            var target = try guest.target()
            target.hostKeys = policy
            return try ClientRun(target, primary)
        }
        let known = HostKeyPolicy.knownHosts(file, name: "vm") { _ in true }
        // A file whose last line has no end is not spoiled.
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try Data("other \(first.publicKey.line)".utf8).write(to: URL(fileURLWithPath: file.path))
        #expect(try run(try ModelGuest(.init(), hostKey: second), known).outcome == .exited(0))
        #expect(
            try String(contentsOfFile: file.path, encoding: .utf8) == "other \(first.publicKey.line)\nvm \(second.publicKey.line)\n")
        // The guest has both: it is asked for the one that is known, though it would rather have the other.
        let both = try ModelGuest(.init(), otherHostKeys: [second])
        #expect(try run(both, known).outcome == .exited(0))
        #expect(try run(both, .pinned(keys: [second.publicKey], fingerprints: [])).outcome == .exited(0))
        let stranger = try run(try ModelGuest(.init()), known)
        #expect(stranger.error?.description.contains("has changed") == true && stranger.outcome == nil)
    }

    @Test("what a guest says cannot command the terminal")
    func guestText() throws {
        #expect("a\u{1b}]52;c\u{7}\u{9b}2J\u{202e}é\n".printable == "a·]52;c··2J·é·")
        #expect("{\"a\":\"\u{9b}\u{1f}\u{e0001}\"}\n".printableJSON == "{\"a\":\"\\u009b\\u001f\\udb40\\udc01\"}\n")
        let evil = "{\"error\":{\"operation\":\"do\",\"object\":\"\\u001b[2J\",\"cause\":\"x\"}}"
        #expect(AttachClient.failure(in: Array(evil.utf8))?.description == "do ·[2J: x")
    }

    @Test("a client that is not let in is told so, once")
    func unauthorised() throws {
        let guest = try ModelGuest(.init())
        var target = try guest.target()
        target.identities = Identities(keys: [.held(try PrivateKey(ed25519Seed: [UInt8](repeating: 2, count: 32)))])
        let run = try ClientRun(target, primary)
        guard case .connection(let error)? = run.error else {
            Issue.record("\(String(describing: run.error))")
            return
        }
        #expect(error.reason == .noMoreAuthenticationMethods && guest.connections == 1)
    }

    @Test("questions are answered with the guest's documents, its refusals and what it does not know")
    func requests() throws {
        let guest = try ModelGuest(
            .init(answers: [
                "sessions@tether": "{\"sessions\":[]}", "stop@tether": "{}", "signal@tether": ModelGuest.failure("notRunning"),
            ]))
        #expect(try AttachClient.ask(.sessions, of: try guest.target()) == Array("{\"sessions\":[]}".utf8))
        #expect(try AttachClient.ask(.stop(signal: "TERM", milliseconds: 5000), of: try guest.target()) == Array("{}".utf8))
        #expect(guest.with { $0.requests.last?.data } == [0, 0, 0, 4, 84, 69, 82, 77, 1, 0, 0, 19, 136])
        let error = #expect(throws: AttachError.self) { try AttachClient.ask(.signal(session: "x", "HUP"), of: try guest.target()) }
        #expect(error == .refused(operation: "attach", object: "c9", cause: "there is none", code: "notRunning", exitCode: 0))
        let unknown = #expect(throws: AttachError.self) { try AttachClient.ask(.stats, of: try guest.target()) }
        #expect(unknown?.description == "ask for stats@tether: the guest does not know this request")
    }

    @Test("detach keys are read as Docker's, and held back only as long as they may be coming")
    func detachKeys() throws {
        #expect(DetachKeys("ctrl-p,ctrl-q") == .standard && DetachKeys("") == DetachKeys.none)
        for bad in ["ctrl-", "ctrl-1", "ab", ",", "ctrl-pp", "é"] { #expect(DetachKeys(bad) == nil, "\(bad)") }
        var keys = try #require(DetachKeys("ctrl-a,a,ctrl-a,b"))
        #expect(keys.filter([1]) == ([], false))
        #expect(keys.filter([97, 1]) == ([], false))
        #expect(keys.filter([99]) == ([1, 97, 1, 99], false))
        #expect(keys.filter([5, 1, 97, 1, 98, 7]) == ([5], true))
        var one = try #require(DetachKeys("ctrl-]"))
        #expect(one.filter([65, 29, 66]) == ([65], true))
        var twice = try #require(DetachKeys("a,a,b"))
        #expect(twice.filter(Array("aaab".utf8)[...]) == ([97], true))
        var thrice = try #require(DetachKeys("ctrl-p,ctrl-p,ctrl-q"))
        #expect(thrice.filter([16, 16, 16, 17]) == ([16], true))
        var none = DetachKeys.none
        #expect(none.filter([16, 17]) == ([16, 17], false))
    }
}
