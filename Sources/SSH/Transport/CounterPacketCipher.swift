import CLinux
import CNettle

/// `aes128-ctr` and `aes256-ctr` (RFC 4344, 4) with `hmac-sha2-256` (RFC 6668) or `hmac-sha2-256-etm@openssh.com` (OpenSSH's
/// PROTOCOL): of the packet before its encryption, or after it.
final class CounterPacketCipher: PacketCipher {
    private let cipher: UnsafePointer<nettle_cipher>
    private let context: UnsafeMutableRawPointer
    private let authenticator: UnsafeMutablePointer<hmac_sha256_ctx>
    private var counter: [UInt8]
    private let isOfCiphertext: Bool

    override var blockSize: Int { 16 }
    override var hasLengthApart: Bool { isOfCiphertext }
    override var tagSize: Int { 32 }
    override var headSize: Int { isOfCiphertext ? 4 : 16 }

    init(keySize: Int, key: [UInt8], initialVector: [UInt8], macKey: [UInt8], macOfCiphertext: Bool) {
        cipher = keySize == 16 ? cnettle_aes128() : cnettle_aes256()
        context = .allocate(byteCount: Int(cipher.pointee.context_size), alignment: 16)
        authenticator = .allocate(capacity: 1)
        counter = initialVector
        isOfCiphertext = macOfCiphertext
        super.init()
        cipher.pointee.set_encrypt_key(context, key)
        nettle_hmac_sha256_set_key(authenticator, macKey.count, macKey)
    }

    deinit {
        explicit_bzero(context, Int(cipher.pointee.context_size))
        explicit_bzero(authenticator, MemoryLayout<hmac_sha256_ctx>.stride)
        context.deallocate()
        authenticator.deallocate()
        counter.wipe()
    }

    /// Where the MAC is of the plain text, the length is in the first block, which is decrypted for it and so believed before the
    /// MAC can be checked. It decides no more than how many bytes are waited for, within the bound for packets.
    override func length(_ head: UnsafeMutablePointer<UInt8>, sequence: UInt32) -> UInt32 {
        if !isOfCiphertext { crypt(head, 16) }
        return PacketCipher.uint32(head)
    }

    override func open(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) -> Bool {
        if !isOfCiphertext { crypt(packet + 16, size - 16) }
        let isRight = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { tag in
            guard let tag = tag.baseAddress else { return false }
            authenticate(packet, size, sequence, into: tag)
            return nettle_memeql_sec(tag, packet + size, 32) == 1
        }
        if isRight && isOfCiphertext { crypt(packet + 4, size - 4) }
        return isRight
    }

    override func seal(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) {
        if isOfCiphertext {
            crypt(packet + 4, size - 4)
            authenticate(packet, size, sequence, into: packet + size)
        } else {
            authenticate(packet, size, sequence, into: packet + size)
            crypt(packet, size)
        }
    }

    /// Whole blocks only: the counter goes on with the next one.
    private func crypt(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
        nettle_ctr_crypt(context, cipher.pointee.encrypt, 16, &counter, count, bytes, bytes)
    }

    private func authenticate(_ packet: UnsafePointer<UInt8>, _ size: Int, _ sequence: UInt32, into tag: UnsafeMutablePointer<UInt8>) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4) { number in
            guard let number = number.baseAddress else { return }
            PacketCipher.store(sequence, number)
            nettle_hmac_sha256_update(authenticator, 4, number)
        }
        nettle_hmac_sha256_update(authenticator, size, packet)
        nettle_hmac_sha256_digest(authenticator, 32, tag)
    }
}
