import Foundation
public import SSH

/// Which host keys are taken for a VM's.
public enum HostKeyPolicy {
    /// These, by key or fingerprint (`SHA256:…`), and no others.
    case pinned(keys: [PublicKey], fingerprints: [String])
    /// Someone else decides: nil takes the key, else it is said why not.
    case verified((PublicKey) -> String?)
    /// What the file holds for `name`, as OpenSSH has it: a key that is not known is asked about, and one that differs from what is
    /// known is refused.
    case knownHosts(KnownHosts, name: String, unknown: (PublicKey) -> Bool)

    /// - Returns: nil when the key is taken, else why not.
    func objection(to key: PublicKey) -> String? {
        switch self {
        case .pinned(let keys, let fingerprints):
            if keys.contains(key) || fingerprints.contains(key.fingerprint) { return nil }
            return "the host key \(key.fingerprint) is not the one that was given"
        case .verified(let check): return check(key)
        case .knownHosts(let file, let name, let unknown):
            do throws(AttachError) {
                let known = try file.keys(of: name)
                if known.contains(key) { return nil }
                if let other = known.first(where: { $0.algorithm == key.algorithm }) {
                    return "the host key of \(name) has changed: it is \(key.fingerprint) and was \(other.fingerprint). "
                        + "If the VM was started with new keys, remove the old one from \(file.path); if not, someone else answers"
                }
                guard unknown(key) else { return "the host key \(key.fingerprint) of \(name) is not known" }
                try file.add(key, for: name)
                return nil
            } catch { return error.description }
        }
    }
}

/// A file of host keys in OpenSSH's form: a name, a key type and a key a line.
public struct KnownHosts: Sendable {
    public let path: String

    public init(path: String) { self.path = path }

    /// Where it is for this user.
    public static var standard: KnownHosts {
        let environment = ProcessInfo.processInfo.environment
        let home = environment["XDG_CONFIG_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? "\(NSHomeDirectory())/.config"
        return KnownHosts(path: "\(home)/tether/known_hosts")
    }

    /// A name of a line as the file has it: without blanks and the characters that have a meaning there.
    private static func encoded(_ name: String) -> String {
        let plain = CharacterSet.alphanumerics.intersection(CharacterSet(charactersIn: "\u{21}"..."\u{7E}"))
            .union(CharacterSet(charactersIn: "/:._-[]@"))
        return name.addingPercentEncoding(withAllowedCharacters: plain) ?? name
    }

    func keys(of name: String) throws(AttachError) -> [PublicKey] {
        guard FileManager.default.fileExists(atPath: path) else { return [] }
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw .local(operation: "read", object: path, cause: error.localizedDescription)
        }
        let wanted = Self.encoded(name)
        return text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 1)
            guard fields.count == 2, fields[0] == wanted else { return nil }
            return try? PublicKey(line: String(fields[1]))
        }
    }

    func add(_ key: PublicKey, for name: String) throws(AttachError) {
        do {
            let directory = URL(fileURLWithPath: path).deletingLastPathComponent()
            try FileManager.default.createDirectory(
                at: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            if !FileManager.default.fileExists(atPath: path) {
                guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]) else {
                    throw CocoaError(.fileWriteUnknown)
                }
            }
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            defer { try? file.close() }
            try file.seekToEnd()
            try file.write(contentsOf: Data("\(Self.encoded(name)) \(key.line)\n".utf8))
        } catch { throw .local(operation: "write", object: path, cause: error.localizedDescription) }
    }
}
