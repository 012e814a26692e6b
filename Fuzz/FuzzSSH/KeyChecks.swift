import Base64Coding
@testable import SSH

/// A key that was understood is what it was read from, and its own line is understood.
func checkPublicKey(_ input: [UInt8]) {
    guard let key = try? PublicKey(blob: input) else { return }
    precondition(key.blob == input && (key.algorithm != "ssh-rsa" || RSA.modulusBits.contains(key.bits)))
    guard let again = try? PublicKey(line: key.line) else { preconditionFailure("a key's own line is not understood") }
    precondition(again == key && again.signatureAlgorithms == key.signatureAlgorithms)
}

/// The content of a private key's text; what kind it is said to be is chosen.
func checkPrivateKey(_ option: UInt8, _ input: [UInt8]) {
    let label = ["OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"][Int(option) % 4]
    checkPrivateKey("-----BEGIN \(label)-----\n\(Base64.encode(input))\n-----END \(label)-----\n")
}

/// The text of a key: of a private one, of a public one, or of a line of authorized keys.
func checkKeyText(_ text: String) {
    checkPrivateKey(text)
    let key = try? PublicKey(line: text)
    guard let line = try? AuthorizedKey(line: text) else {
        precondition(key?.isWeak ?? true, "a key without options is no authorized key")
        return
    }
    precondition(!line.key.isWeak, "a key by which nobody could log in")
    precondition(key == nil || (key == line.key && line.permissions == Permissions()), "it is another key, or restricted by nothing")
    precondition(line.permissions.forcedCommand.map { $0.count < text.utf8.count } ?? true, "a command out of nothing")
}

/// A private key that was understood can be written, and is the same when read again.
private func checkPrivateKey(_ text: String) {
    guard let key = try? PrivateKey(text: text) else { return }
    guard let again = try? PrivateKey(text: key.openSSHText(comment: "")) else { preconditionFailure("a key's own text is not understood") }
    precondition(again.publicKey == key.publicKey, "it is another key")
}
