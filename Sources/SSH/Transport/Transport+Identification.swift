/// The identification strings (RFC 4253, 4.2).
extension Transport {
    static let maximumIdentification = 255
    /// What a server may say before it (the RFC sets no bound).
    static let maximumGreeting = 8192

    static func identification(software: String) -> [UInt8] {
        let name = software.utf8.prefix(64).map { (0x21..<0x7f).contains($0) && $0 != UInt8(ascii: "-") ? $0 : UInt8(ascii: "_") }
        return Array("SSH-2.0-".utf8) + (name.isEmpty ? Array("tether".utf8) : name)
    }

    /// Takes lines from the input until the peer's identification is found, and then begins the key exchange.
    func readIdentification() throws(SSHError) {
        while peerIdentification == nil {
            let bytes = input.bytes
            let limit = isServer ? Self.maximumIdentification : Self.maximumGreeting
            guard let end = bytes.prefix(limit).firstIndex(of: 0x0a) else {
                if bytes.count >= limit { throw Self.identificationError("the line is too long") }
                return
            }
            var line = Array(bytes[..<end])
            input.removeFirst(end + 1)
            if line.last == 0x0d { line.removeLast() }
            if line.starts(with: Array("SSH-".utf8)) {
                try takeIdentification(line)
            } else {
                // Only servers may say something before it.
                skippedBytes += end + 1
                guard !isServer else { throw Self.identificationError("the peer does not speak SSH") }
                guard skippedBytes <= Self.maximumGreeting else { throw Self.identificationError("too much comes before it") }
            }
        }
        try beginExchange()
    }

    private func takeIdentification(_ line: [UInt8]) throws(SSHError) {
        guard line.count <= Self.maximumIdentification - 2 else { throw Self.identificationError("the line is too long") }
        guard line.allSatisfy({ (0x20..<0x7f).contains($0) }) else { throw Self.identificationError("it is not printable ASCII") }
        // A server of version 2 that also speaks version 1 says 1.99 (5.1).
        let prefixes = isServer ? ["SSH-2.0-"] : ["SSH-2.0-", "SSH-1.99-"]
        guard let prefix = prefixes.first(where: { line.starts(with: Array($0.utf8)) }) else {
            throw SSHError(.versionNotSupported, "read", "identification", "the peer speaks another version of SSH")
        }
        peerSoftware = String(decoding: line.dropFirst(prefix.utf8.count), as: UTF8.self)
        peerIdentification = line
    }

    private static func identificationError(_ cause: String) -> SSHError { SSHError(.protocolError, "read", "identification", cause) }
}
