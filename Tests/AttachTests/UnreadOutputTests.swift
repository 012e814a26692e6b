import SessionLog
import Testing

@testable import Attach

@Suite("Attach: what a client has not read") struct UnreadOutputTests {
    @Test("bytes are read in the order in which they were sent")
    func order() {
        var unread = UnreadOutput()
        unread.sent(.stdout, 10)
        unread.sent(.stdout, 5)
        unread.sent(.stderr, 4)
        unread.sent(.stdout, 1)
        #expect(unread.stdout == 16 && unread.stderr == 4)
        unread.read(14)
        #expect(unread.stdout == 2 && unread.stderr == 4)
        unread.read(3)
        #expect(unread.stdout == 1 && unread.stderr == 2)
        // A client that lets more be sent than it was sent has read all of it, and no more.
        unread.read(100)
        #expect(unread.stdout == 0 && unread.stderr == 0 && unread.isEmpty)
        unread.sent(.stderr, 3)
        unread.read(-1)
        #expect(unread.stderr == 3)
    }

    @Test("streams that take turns with every byte cost no more, and nothing of them is taken for read that may not be")
    func turns() {
        var unread = UnreadOutput()
        let random = SeededRandom(1)
        var sent: [LogStream] = []
        for _ in 0..<100_000 {
            let stream: LogStream = random.next() % 2 == 0 ? .stdout : .stderr
            sent.append(stream)
            unread.sent(stream, 1)
        }
        var read = 0
        while read < sent.count {
            let step = Int(random.next() % 999) + 1
            unread.read(step)
            read = min(sent.count, read + step)
            let rest = sent[read...]
            let stdout = rest.count { $0 == .stdout }
            #expect(unread.stdout >= stdout && unread.stderr >= rest.count - stdout)
        }
        #expect(unread.isEmpty && unread.stdout == 0 && unread.stderr == 0)
    }
}
