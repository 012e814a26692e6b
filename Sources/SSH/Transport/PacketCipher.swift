/// How packets are protected in one direction with one set of keys (RFC 4253, 6): their shape, and what makes and opens them in
/// place. This one is `none`, in use until the first SSH_MSG_NEWKEYS; the others are its subclasses.
class PacketCipher {
    /// Packets are padded to a multiple of this.
    var blockSize: Int { 8 }
    /// The length field is not encrypted with the rest, and does not count for the padding.
    var hasLengthApart: Bool { false }
    /// How many bytes follow each packet.
    var tagSize: Int { 0 }
    /// How much of a packet must be there before its length is known.
    var headSize: Int { 4 }

    init() {}

    /// The `packet_length` of a packet, of which `headSize` bytes are there. Called once a packet, before ``open``.
    func length(_ head: UnsafeMutablePointer<UInt8>, sequence: UInt32) -> UInt32 { PacketCipher.uint32(head) }

    /// Checks and decrypts a packet in place.
    ///
    /// - Parameter size: of the packet with its length field and without its tag, which follows.
    /// - Returns: false where the tag is wrong; the packet's content means nothing then.
    func open(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) -> Bool { true }

    /// Encrypts a packet in place and writes its tag behind it.
    func seal(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) {}

    final class func uint32(_ bytes: UnsafePointer<UInt8>) -> UInt32 {
        UInt32(bytes[0]) << 24 | UInt32(bytes[1]) << 16 | UInt32(bytes[2]) << 8 | UInt32(bytes[3])
    }

    final class func store(_ value: UInt32, _ bytes: UnsafeMutablePointer<UInt8>) {
        bytes[0] = UInt8(truncatingIfNeeded: value >> 24)
        bytes[1] = UInt8(truncatingIfNeeded: value >> 16)
        bytes[2] = UInt8(truncatingIfNeeded: value >> 8)
        bytes[3] = UInt8(truncatingIfNeeded: value)
    }
}

/// What the names of a cipher and a MAC stand for.
enum CipherSuite: Equatable {
    case chacha20Poly1305
    case gcm(keySize: Int)
    case counter(keySize: Int, macOfCiphertext: Bool)

    /// - Returns: nil for names that are not supported.
    init?(cipher: String, mac: String) {
        switch cipher {
        case "chacha20-poly1305@openssh.com": self = .chacha20Poly1305
        case "aes128-gcm@openssh.com": self = .gcm(keySize: 16)
        case "aes256-gcm@openssh.com": self = .gcm(keySize: 32)
        case "aes128-ctr", "aes256-ctr":
            guard AlgorithmPreferences.supportedMACs.contains(mac) else { return nil }
            self = .counter(keySize: cipher == "aes128-ctr" ? 16 : 32, macOfCiphertext: mac.hasSuffix("-etm@openssh.com"))
        default: return nil
        }
    }

    /// Ciphers that need no MAC beside them.
    static func authenticates(_ cipher: String) -> Bool { cipher.hasSuffix("@openssh.com") }

    var keySize: Int {
        switch self {
        case .chacha20Poly1305: 64
        case .gcm(let size), .counter(let size, _): size
        }
    }

    var initialVectorSize: Int {
        switch self {
        case .chacha20Poly1305: 0
        case .gcm: 12
        case .counter: 16
        }
    }

    var macKeySize: Int {
        if case .counter = self { return 32 }
        return 0
    }

    /// - Parameters: of the sizes above.
    func makeCipher(key: [UInt8], initialVector: [UInt8], macKey: [UInt8]) -> PacketCipher {
        switch self {
        case .chacha20Poly1305: ChaChaPacketCipher(key: key)
        case .gcm(let size): GCMPacketCipher(keySize: size, key: key, initialVector: initialVector)
        case .counter(let size, let ofCiphertext):
            CounterPacketCipher(keySize: size, key: key, initialVector: initialVector, macKey: macKey, macOfCiphertext: ofCiphertext)
        }
    }
}
