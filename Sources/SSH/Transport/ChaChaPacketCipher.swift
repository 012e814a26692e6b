import CLinux
import CNettle

/// `chacha20-poly1305@openssh.com` (OpenSSH's PROTOCOL.chacha20poly1305).
final class ChaChaPacketCipher: PacketCipher {
    /// The cipher of the packets, and behind it that of their lengths.
    private let ciphers: UnsafeMutablePointer<chacha_ctx>
    private let authenticator: UnsafeMutablePointer<poly1305_aes_ctx>
    private let fixedKey: UnsafeMutablePointer<aes128_ctx>

    override var hasLengthApart: Bool { true }
    override var tagSize: Int { 16 }

    init(key: [UInt8]) {
        ciphers = .allocate(capacity: 2)
        authenticator = .allocate(capacity: 1)
        fixedKey = .allocate(capacity: 1)
        super.init()
        key.withUnsafeBufferPointer { key in
            nettle_chacha_set_key(ciphers, key.baseAddress)
            nettle_chacha_set_key(ciphers + 1, key.baseAddress.map { $0 + 32 })
        }
        nettle_aes128_set_decrypt_key(fixedKey, [UInt8](repeating: 0, count: 16))
    }

    deinit {
        explicit_bzero(ciphers, 2 * MemoryLayout<chacha_ctx>.stride)
        explicit_bzero(authenticator, MemoryLayout<poly1305_aes_ctx>.stride)
        ciphers.deallocate()
        authenticator.deallocate()
        fixedKey.deallocate()
    }

    /// The length is encrypted on its own, so that it is known before the packet is; whoever changes it makes the tag wrong.
    override func length(_ head: UnsafeMutablePointer<UInt8>, sequence: UInt32) -> UInt32 {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4) { plain in
            guard let plain = plain.baseAddress else { return 0 }
            cryptLength(plain, from: head, sequence: sequence)
            return PacketCipher.uint32(plain)
        }
    }

    override func open(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) -> Bool {
        begin(sequence)
        let isRight = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { tag in
            nettle_poly1305_aes_update(authenticator, size, packet)
            nettle_poly1305_aes_digest(authenticator, 16, tag.baseAddress)
            return nettle_memeql_sec(tag.baseAddress, packet + size, 16) == 1
        }
        if isRight { nettle_chacha_crypt(ciphers, size - 4, packet + 4, packet + 4) }
        return isRight
    }

    override func seal(_ packet: UnsafeMutablePointer<UInt8>, size: Int, sequence: UInt32) {
        begin(sequence)
        cryptLength(packet, from: packet, sequence: sequence)
        nettle_chacha_crypt(ciphers, size - 4, packet + 4, packet + 4)
        nettle_poly1305_aes_update(authenticator, size, packet)
        nettle_poly1305_aes_digest(authenticator, 16, packet + size)
    }

    /// Takes the authenticator's key from the first block of the packet's key stream and leaves the cipher at the second.
    ///
    /// Poly1305 adds to a polynomial in r a number s. nettle offers it with an s that is a nonce encrypted by AES, and so this
    /// gives it as the nonce what a fixed AES key decrypts s to.
    private func begin(_ sequence: UInt32) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64 + 32) { bytes in
            guard let block = bytes.baseAddress else { return }
            memset(block, 0, bytes.count)
            setNonce(ciphers, sequence)
            nettle_chacha_crypt(ciphers, 64, block, block)
            // nettle's key is that of AES, all zero here, and then r.
            memcpy(block + 64 + 16, block, 16)
            nettle_poly1305_aes_set_key(authenticator, block + 64)
            nettle_aes128_decrypt(fixedKey, 16, block, block + 16)
            nettle_poly1305_aes_set_nonce(authenticator, block)
            explicit_bzero(block, bytes.count)
        }
    }

    private func cryptLength(_ destination: UnsafeMutablePointer<UInt8>, from source: UnsafePointer<UInt8>, sequence: UInt32) {
        setNonce(ciphers + 1, sequence)
        nettle_chacha_crypt(ciphers + 1, 4, destination, source)
    }

    /// Begins the key stream for a packet, block 0: the nonce is the sequence number in 64 bits.
    private func setNonce(_ cipher: UnsafeMutablePointer<chacha_ctx>, _ sequence: UInt32) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 8) { nonce in
            guard let nonce = nonce.baseAddress else { return }
            memset(nonce, 0, 4)
            PacketCipher.store(sequence, nonce + 4)
            nettle_chacha_set_nonce(cipher, nonce)
        }
    }
}
