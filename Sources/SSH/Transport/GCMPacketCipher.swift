import CLinux
import CNettle

/// `aes128-gcm@openssh.com` and `aes256-gcm@openssh.com` (RFC 5647, 7, with the names and the negotiation of OpenSSH's PROTOCOL).
final class GCMPacketCipher: PacketCipher {
    private let algorithm: UnsafePointer<nettle_aead>
    private let context: UnsafeMutableRawPointer
    /// Four fixed bytes and the invocation counter, which goes up with each packet. It cannot come around: keys are replaced long before.
    private var nonce: [UInt8]

    override var blockSize: Int { 16 }
    override var hasLengthApart: Bool { true }
    override var tagSize: Int { 16 }

    init(keySize: Int, key: [UInt8], initialVector: [UInt8]) {
        algorithm = keySize == 16 ? cnettle_gcm_aes128() : cnettle_gcm_aes256()
        context = .allocate(byteCount: Int(algorithm.pointee.context_size), alignment: 16)
        nonce = initialVector
        super.init()
        // GCM decrypts with the block cipher's encryption: the one key serves for both.
        algorithm.pointee.set_encrypt_key(context, key)
    }

    deinit {
        explicit_bzero(context, Int(algorithm.pointee.context_size))
        context.deallocate()
        nonce.wipe()
    }

    override func open(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) -> Bool {
        begin(packet)
        // nettle hashes the ciphertext as it decrypts it; what comes out is not looked at unless the tag is right.
        algorithm.pointee.decrypt(context, size - 4, packet + 4, packet + 4)
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { tag in
            algorithm.pointee.digest(context, 16, tag.baseAddress)
            return nettle_memeql_sec(tag.baseAddress, packet + size, 16) == 1
        }
    }

    override func seal(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) {
        begin(packet)
        algorithm.pointee.encrypt(context, size - 4, packet + 4, packet + 4)
        algorithm.pointee.digest(context, 16, packet + size)
    }

    /// The next nonce, and the length field, which is authenticated as it is.
    private func begin(_ packet: UnsafeMutablePointer<UInt8>) {
        algorithm.pointee.set_nonce(context, nonce)
        for index in nonce.indices.reversed().prefix(8) {
            nonce[index] &+= 1
            if nonce[index] != 0 { break }
        }
        algorithm.pointee.update(context, 4, packet)
    }
}
