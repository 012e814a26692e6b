import ContainerSpec
import Testing

@testable import Sessions

@Suite("Restart policies") struct RestartTests {
    private let second: Int64 = 1_000_000_000

    @Test("the waits double up to a minute, and begin anew after ten good seconds")
    func backOff() {
        var tracker = RestartTracker(policy: .always)
        let waits = (0..<12).map { _ in tracker.ended(exitCode: 0, ran: 0, stopped: false).map { $0 / 1_000_000 } }
        #expect(waits == [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000])
        #expect(tracker.ended(exitCode: 1, ran: 10 * second, stopped: false) == 100_000_000)
        #expect(tracker.ended(exitCode: 1, ran: 10 * second - 1, stopped: false) == 200_000_000)
        #expect(tracker.count == 14)
    }

    @Test("on-failure counts, and a success ends it")
    func onFailure() {
        var tracker = RestartTracker(policy: .onFailure(maximum: 2))
        #expect(tracker.ended(exitCode: 1, ran: 0, stopped: false) != nil)
        #expect(tracker.ended(exitCode: 137, ran: 0, stopped: false) != nil)
        #expect(tracker.ended(exitCode: 1, ran: 0, stopped: false) == nil)
        var endless = RestartTracker(policy: .onFailure(maximum: nil))
        for _ in 0..<100 { #expect(endless.ended(exitCode: 1, ran: 0, stopped: false) != nil) }
        #expect(endless.ended(exitCode: 0, ran: 0, stopped: false) == nil)
    }

    @Test("what was stopped stays so; without a policy nothing starts again")
    func stopped() {
        for policy in [RestartPolicy.always, .unlessStopped, .onFailure(maximum: nil), .no] {
            var tracker = RestartTracker(policy: policy)
            #expect(tracker.ended(exitCode: 1, ran: 0, stopped: true) == nil)
        }
        var none = RestartTracker(policy: .no)
        #expect(none.ended(exitCode: 1, ran: 0, stopped: false) == nil)
    }
}
