import Foundation
import SSH

/// A file that a person keeps a key in.
enum IdentityFile {
    case key(PrivateKey)
    /// The private half cannot be had from the file.
    /// - Parameters:
    ///   - publicHalf: as far as it is known; by it an agent may have the key.
    ///   - why: as the end of "it …".
    case locked(publicHalf: PublicKey?, why: String)

    /// - Throws: for what cannot be read, or is no key that is supported.
    init(path: String) throws(AttachError) {
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            // The private half may be in an agent or a token, and its public half alone on this machine.
            guard let publicHalf = Self.publicHalf(beside: path) else {
                throw .local(operation: "read", object: path, cause: (error as NSError).localizedDescription)
            }
            self = .locked(publicHalf: publicHalf, why: "cannot be read")
            return
        }
        if let key = try? PublicKey(line: text) {
            self = .locked(publicHalf: key, why: "is the public half alone")
            return
        }
        do throws(SSHError) { self = .key(try PrivateKey(text: text)) } catch {
            guard Self.isEncrypted(text) else { throw .local(operation: "read the private key", object: path, cause: error.cause) }
            self = .locked(publicHalf: Self.openSSHHeader(text)?.publicHalf ?? Self.publicHalf(beside: path), why: "has a passphrase")
        }
    }

    private static func publicHalf(beside path: String) -> PublicKey? {
        guard let line = try? String(contentsOfFile: path + ".pub", encoding: .utf8) else { return nil }
        return try? PublicKey(line: line)
    }

    private static func isEncrypted(_ text: String) -> Bool {
        if let header = openSSHHeader(text) { return header.cipher != "none" }
        // PKCS#8, and the header of older PEM files.
        return text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
    }

    /// What a file of OpenSSH's has in clear (its PROTOCOL.key).
    private static func openSSHHeader(_ text: String) -> (cipher: String, publicHalf: PublicKey?)? {
        guard let begin = text.range(of: "-----BEGIN OPENSSH PRIVATE KEY-----"),
            let end = text.range(of: "-----END OPENSSH PRIVATE KEY-----", range: begin.upperBound..<text.endIndex),
            let data = Data(base64Encoded: String(text[begin.upperBound..<end.lowerBound]), options: .ignoreUnknownCharacters)
        else { return nil }
        let magic = Array("openssh-key-v1\0".utf8)
        var reader = WireReader(Array(data))
        guard reader.take(magic.count).elementsEqual(magic) else { return nil }
        let cipher = reader.text()
        // How the passphrase becomes a key, and by which numbers.
        _ = (reader.string(), reader.string())
        guard reader.uint32() == 1 else { return nil }
        let blob = reader.string()
        return reader.hasFailed ? nil : (cipher, try? PublicKey(blob: blob))
    }
}
