import ArgumentParser
import AttachClient
import Foundation
import LineEndpoint
import SSH

/// How to reach a guest, who one is, and who it must be: what all clients of the attach line take.
struct TargetOptions: ParsableArguments {
    @OptionGroup var line: LineOptions
    @Option(
        name: .customLong("identity"),
        help: ArgumentHelp(
            """
            A private key to log in with, or its public half where an agent has it. May be repeated. (default: ~/.ssh/id_ed25519, \
            id_ecdsa, id_rsa)
            """, valueName: "path"))
    var identities: [String] = []
    @Option(
        name: .customLong("host-key"),
        help: ArgumentHelp(
            "The VM's host key: a fingerprint (SHA256:...), a public key, or a file of such. May be repeated. (default: as known)",
            valueName: "key"))
    var hostKeys: [String] = []
    @Flag(help: "Take a host key that is not known yet without asking, and remember it. One that has changed is refused all the same.")
    var acceptNew = false
    @Option(help: ArgumentHelp("How long to wait for the VM to answer on its line. 0: for ever.", valueName: "seconds"))
    var wait: UInt32 = 120

    func parse() throws(AttachError) -> AttachTarget {
        let endpoint: Endpoint
        do throws(EndpointError) { endpoint = try line.parse() } catch { throw .endpoint(error) }
        var target = AttachTarget(endpoint: endpoint, hostKeys: try policy(endpoint))
        target.identities = try loadIdentities()
        target.synchronisationMilliseconds = wait == 0 ? nil : Int64(wait) * 1000
        return target
    }

    private func policy(_ endpoint: Endpoint) throws(AttachError) -> HostKeyPolicy {
        if hostKeys.isEmpty {
            let accepts = acceptNew
            let name = endpoint.knownName
            return .knownHosts(.standard, name: name) { key in accepts || Self.ask(name, key) }
        }
        var keys: [PublicKey] = []
        var fingerprints: [String] = []
        var texts: [String] = []
        for text in hostKeys { texts += try Self.lines(text) }
        for text in texts {
            if text.hasPrefix("SHA256:") {
                fingerprints.append(text)
            } else {
                do throws(SSHError) { keys.append(try PublicKey(line: text)) } catch {
                    throw .local(operation: "read the host key", object: text, cause: error.cause)
                }
            }
        }
        return .pinned(keys: keys, fingerprints: fingerprints)
    }

    private static func lines(_ text: String) throws(AttachError) -> [String] {
        if text.hasPrefix("SHA256:") || text.contains(" ") { return [text] }
        return try content(of: text).split(whereSeparator: \.isNewline).map { String($0) }.filter { !$0.hasPrefix("#") }
    }

    private static func content(of path: String) throws(AttachError) -> String {
        do { return try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw .local(operation: "read", object: path, cause: (error as NSError).localizedDescription)
        }
    }

    private func loadIdentities() throws(AttachError) -> Identities {
        let standard = ["id_ed25519", "id_ecdsa", "id_rsa"].map { "\(NSHomeDirectory())/.ssh/\($0)" }
        let agent = ProcessInfo.processInfo.environment["SSH_AUTH_SOCK"].flatMap { $0.isEmpty ? nil : $0 }
        return try Identities(named: identities, standard: standard, agent: agent)
    }

    /// Asks the person at the terminal, as OpenSSH does.
    private static func ask(_ name: String, _ key: PublicKey) -> Bool {
        guard let terminal = FileHandle(forUpdatingAtPath: "/dev/tty") else { return false }
        let question = """
            The VM at \(name) is not known yet. Its \(key.algorithm) key is
            \(key.fingerprint)
            Is that the one of guestinfo.tether.attach.fingerprints? (yes/no)\u{20}
            """
        guard (try? terminal.write(contentsOf: Data(question.utf8))) != nil else { return false }
        let answer = String(decoding: terminal.availableData, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return answer == "yes"
    }
}

extension Endpoint {
    /// What its host key is remembered by.
    fileprivate var knownName: String {
        switch self {
        case .socket(let path), .terminal(let path): URL(fileURLWithPath: path).standardizedFileURL.path
        case .concentrator(_, let machine): "vm:\(machine)"
        case .tcp, .telnet: description
        }
    }
}
