import Foundation
import LineEndpoint

extension Endpoint {
    /// A line of a concentrator's list, as far as it matters here.
    private struct Line: Decodable {
        let name, uuid, uri, address: String
        let moving: Bool

        /// As the concentrator itself finds lines.
        func matches(_ text: String) -> Bool {
            func digits(_ uuid: String) -> [UInt8] { uuid.utf8.filter { $0 != 0x2D && $0 != 0x20 }.map { $0 | 0x20 } }
            return [name, uri, address].contains(text) || !uuid.isEmpty && digits(text) == digits(uuid)
        }
    }

    /// Whether it is the line of a VM that is on its way to another host, as the concentrator has it. One that cannot be asked has none.
    var isMoving: Bool {
        guard case .concentrator(let path, let machine) = self, let lines = try? ConcentratorClient.list(path: path) else { return false }
        return lines.contains { text in
            (try? JSONDecoder().decode(Line.self, from: Data(text.utf8))).map { $0.moving && $0.matches(machine) } ?? false
        }
    }
}
