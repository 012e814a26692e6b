import CLinux
import Foundation
import Linux
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

    /// The types of the keys that are expected, which the guest is asked for before others.
    var expectedAlgorithms: [String] {
        let keys: [PublicKey]
        switch self {
        case .pinned(let pinned, _): keys = pinned
        case .verified: keys = []
        case .knownHosts(let file, let name, _): keys = (try? file.keys(of: name)) ?? []
        }
        return keys.flatMap { $0.signatureAlgorithms }.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

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
                // Of another type, too: a guest keeps the keys that it has, and the known ones are asked for first.
                if let other = known.first {
                    return "the host key of \(name) has changed: it is \(key.fingerprint) (\(key.algorithm)) and was "
                        + "\(other.fingerprint) (\(other.algorithm)). "
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
        } catch { throw .local(operation: "make the directory of", object: path, cause: error.localizedDescription) }
        try system { () throws(SyscallError) in
            // Appended in one piece: other clients may learn keys at the same time.
            let file = try FileDescriptor.open(path, O_RDWR | O_APPEND | O_CREAT, mode: 0o600)
            let number = file.rawValue
            var last = UInt8(ascii: "\n")
            let size = try attempt("lseek", path) { lseek(number, 0, Int32(SEEK_END)) }
            if size > 0 { try attempt("read", path) { pread(number, &last, 1, size - 1) } }
            let line = (last == UInt8(ascii: "\n") ? "" : "\n") + "\(Self.encoded(name)) \(key.line)\n"
            let bytes = Array(line.utf8)
            try attempt("write", path) { write(number, bytes, bytes.count) }
        }
    }
}
