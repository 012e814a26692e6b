import ArgumentParser
import GuestInfoHost

extension GuestInfoHost.Fault {
    /// Reads EFFECT@STEP, EFFECT@STEP:TIMES or EFFECT@STEP:TIMES+AFTER.
    init(argument: String) throws {
        let halves = argument.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        let place = halves.count == 2 ? halves[1].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false) : []
        guard let effect = halves.first.flatMap({ Effect(rawValue: String($0)) }),
            let step = place.first.flatMap({ GuestInfoHost.Step(rawValue: String($0)) })
        else { throw ValidationError("'\(argument)' is not a fault EFFECT@STEP") }
        self.init(effect, at: step)
        guard place.count == 2 else { return }
        let counts = place[1].split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
        if counts[0] == "always" {
            times = nil
        } else {
            guard let number = Int(counts[0]), number > 0 else { throw ValidationError("'\(argument)': TIMES is a number or always") }
            times = number
        }
        if counts.count == 2 {
            guard let number = Int(counts[1]), number >= 0 else { throw ValidationError("'\(argument)': AFTER is a number") }
            after = number
        }
    }
}
