// A small SkylineDB client: .NET 8, no packages. docs/protocol.md has the protocol.
// `dotnet run -- [--socket PATH] [--db FILE | --default-db]` gives a short tour.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;

namespace SkylineExample
{
    public static class Program
    {
        private const string Columns =
            "id INTEGER PRIMARY KEY, name TEXT UNIQUE, magnitude REAL, gaia_id INTEGER, image BLOB";
        private const string Insert =
            "INSERT INTO example_stars (name, magnitude, gaia_id, image) VALUES (?, ?, ?, ?)";

        private static void Tour(Skyline sky, string endpoint, string db)
        {
            JsonElement ping = sky.Call(new Dictionary<string, object> { ["type"] = "Ping" });
            Console.WriteLine("daemon {0}, pid {1}, at {2}", ping.GetProperty("version"), ping.GetProperty("pid"), endpoint);

            var vega = Skyline.Statement(Insert, "Vega", 0.03, long.MaxValue, new byte[] { 0x89, 0x50, 0x4E, 0x47, 0 });
            JsonElement reply = sky.Batch(db,
                Skyline.Statement("DROP TABLE IF EXISTS example_stars"),
                Skyline.Statement("CREATE TABLE example_stars (" + Columns + ")"),
                vega,
                Skyline.Statement(Insert, "Antares", 1.0, 4, null));
            Console.WriteLine("rev {0}, epoch {1}, {2} rows written",
                reply.GetProperty("rev"), reply.GetProperty("epoch"), reply.GetProperty("rows_affected"));

            var limit = new Dictionary<string, object> { ["limit"] = 2.0 };
            reply = sky.Batch(db, Skyline.Statement("SELECT * FROM example_stars WHERE magnitude < :limit", limit));
            JsonElement result = reply.GetProperty("results")[0];
            Console.WriteLine(string.Join(" | ", result.GetProperty("columns").EnumerateArray().Select(name => name.GetString())));
            foreach (JsonElement row in result.GetProperty("rows").EnumerateArray())
                Console.WriteLine(string.Join(" | ", row.EnumerateArray().Select(cell => Show(Skyline.Decode(cell)))));

            try
            {
                sky.Batch(db, vega);
            }
            catch (SkylineException error)
            {
                JsonElement sqlite;
                error.Reply.TryGetProperty("sqlite_code", out sqlite);
                Console.WriteLine("refused: {0}, {1}, {2}", error.Code, sqlite, error.Reply.GetProperty("outcome"));
            }
        }

        private static string Show(object value)
        {
            if (value is byte[] bytes) return BitConverter.ToString(bytes);
            return value == null ? "NULL" : FormattableString.Invariant($"{value} ({value.GetType().Name})");
        }

        public static int Main(string[] args)
        {
            string socket = null, db = Path.GetFullPath("stars.db");
            for (int i = 0; i < args.Length; i++)
            {
                if (args[i] == "--socket" && i + 1 < args.Length) socket = args[++i];
                else if (args[i] == "--db" && i + 1 < args.Length) db = Path.GetFullPath(args[++i]);
                else if (args[i] == "--default-db") db = null;
                else
                {
                    Console.Error.WriteLine("usage: [--socket PATH] [--db FILE | --default-db]");
                    return 2;
                }
            }
            string endpoint = Skyline.Endpoint(socket);
            try
            {
                using (var sky = new Skyline(endpoint)) Tour(sky, endpoint, db);
                return 0;
            }
            catch (NoDaemonException)
            {
                Console.Error.WriteLine("No daemon answers at {0}. Start one with:\n  skylinedb-daemon --socket {0}", endpoint);
                return 3;
            }
            catch (Exception error)
            {
                Console.Error.WriteLine("error: " + error.Message);
                return 1;
            }
        }
    }
}
