import Foundation
import GuestInfo
import GuestInfoHost
import Testing

/// A client of a model host in the same process, without pauses between tries.
struct Session {
    let host: GuestInfoHost
    let client: GuestInfoClient<ModelPort>

    init(_ values: [String: [UInt8]] = [:], use: ChannelUse = .perRequest, _ change: (inout GuestInfoHost.Options) -> Void = { _ in }) {
        var options = GuestInfoHost.Options()
        change(&options)
        host = GuestInfoHost(store: GuestInfoStore(values), options: options)
        var retry = RetryPolicy()
        retry.sleep = { _ in }
        client = GuestInfoClient(RPCI(port: ModelPort(host), use: use, retry: retry))
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// `count` bytes, no two neighbours equal, none NUL: a byte in the wrong place shows.
func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 * 7 + $0 / 251) % 254 + 1) } }

let highBandwidths = GuestInfoHost.Options.HighBandwidth.allCases
