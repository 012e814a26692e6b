import ArgumentParser
import AttachClient
import CLinux
import Foundation
import LineEndpoint
import Linux
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
    @Option(
        help: ArgumentHelp("The name to log in by: \"daemon\" to a VM in VIC's dialect. With a key any name will do.", valueName: "name"))
    var login = "container"
    @Option(help: ArgumentHelp("How long to wait for the VM to answer on its line. 0: for ever.", valueName: "seconds"))
    var wait: UInt32 = 120

    func parse() throws(AttachError) -> AttachTarget {
        let endpoint: Endpoint
        do throws(EndpointError) { endpoint = try line.parse() } catch { throw .endpoint(error) }
        var target = AttachTarget(endpoint: endpoint, hostKeys: try policy(endpoint))
        target.identities = try loadIdentities()
        target.user = login
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
        if text.hasPrefix("SHA256:") || text.contains(" ") && !FileManager.default.fileExists(atPath: text) { return [text] }
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

    /// Asks the person at the terminal, as OpenSSH does. A signal is no.
    private static func ask(_ name: String, _ key: PublicKey) -> Bool {
        let question = """
            The VM at \(name) is not known yet. Its \(key.algorithm) key is
            \(key.fingerprint)
            Is that the one of guestinfo.tether.attach.fingerprints? (yes/no)\u{20}
            """
        guard let terminal = try? FileDescriptor.open("/dev/tty", O_RDWR | O_NOCTTY),
            write(terminal.rawValue, Array(question.utf8), question.utf8.count) > 0
        else { return false }
        var watched = [
            pollfd(fd: terminal.rawValue, events: Int16(POLLIN), revents: 0),
            pollfd(fd: Terminations.signals, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&watched, 2, -1) < 0, clinux_errno() == EINTR {}
        guard watched[1].revents == 0, let answer = (try? terminal.read(atMost: 256)) ?? nil else { return false }
        return String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) == "yes"
    }
}

extension Endpoint {
    /// What its host key is remembered by.
    fileprivate var knownName: String {
        switch self {
        case .socket(let path), .terminal(let path): URL(fileURLWithPath: path).standardizedFileURL.path
        // Two concentrators may each have a VM of this name.
        case .concentrator(let path, let machine): "\(URL(fileURLWithPath: path).standardizedFileURL.path):vm:\(machine)"
        case .tcp, .telnet: description
        }
    }
}
