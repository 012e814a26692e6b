import CLinux
import Foundation
import LineEndpoint
import Linux

/// A line to the VM's that is cut when so many bytes have gone towards the guest.
final class CutLine: @unchecked Sendable {
    let path: String
    private let lock = NSLock()
    private var isOver = false
    private var cutCount = 0
    private let done = DispatchSemaphore(value: 0)

    init(to socket: String, at path: String, after limits: [Int]) throws {
        self.path = path
        let listener = try Sockets.listen(path: path)
        let thread = Thread { [self] in
            var limits = limits[...]
            while !lock.withLock({ isOver }) {
                guard let accepted = (try? Sockets.accept(listener)) ?? nil else {
                    usleep(5000)
                    continue
                }
                guard let client = try? LineConnection(FileDescriptor(owning: accepted.descriptor), name: "client"),
                    let guest = try? LineConnection(to: .socket(path: socket))
                else { continue }
                let isCut = carry(client, guest, limits.first ?? .max)
                if isCut {
                    lock.withLock { cutCount += 1 }
                    limits = limits.dropFirst()
                }
                client.close()
                guest.close()
            }
            done.signal()
        }
        thread.start()
    }

    /// - Returns: whether it was cut, and not left by one of the two.
    private func carry(_ client: LineConnection, _ guest: LineConnection, _ limit: Int) -> Bool {
        var count = 0
        while !lock.withLock({ isOver }) {
            var isIdle = true
            for (from, to) in [(client, guest), (guest, client)] where to.pendingOutput < 16_384 {
                switch (try? from.read(atMost: 4096)) ?? .closed {
                case .bytes(let bytes):
                    to.send(bytes[...])
                    if from === client { count += bytes.count }
                    isIdle = false
                case .nothing: break
                case .closed: return false
                }
            }
            if count >= limit { return true }
            if (try? client.flush()) == nil || (try? guest.flush()) == nil { return false }
            if isIdle { usleep(500) }
        }
        return false
    }

    var cuts: Int { lock.withLock { cutCount } }

    func close() {
        lock.withLock { isOver = true }
        done.wait()
    }
}
