//! An endpoint over TCP: as much of an HTTP server as the tests need, one request a connection.

use futures::{StreamExt, stream};
use http::Request;
use ipfs_routing::delegated::Server;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Serves at a port of the loopback as long as the runtime runs; with the URL.
pub(crate) async fn listen(server: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(server.clone(), stream));
        }
    });
    url
}

async fn serve(server: Server, connection: TcpStream) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let (first, headers) = read_head(&mut connection).await?;
    let mut words = first.split(' ');
    let mut request = Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    let mut len = 0;
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("content-length") {
            len = value.parse().unwrap();
        }
        request = request.header(name, value);
    }
    let mut body = vec![0; len];
    connection.read_exact(&mut body).await?;
    let body = stream::iter([Ok(body.into())]).boxed();
    let (head, mut body) = server.call(request.body(body).unwrap()).await.into_parts();
    let mut text = format!("HTTP/1.1 {}\r\nConnection: close\r\n", head.status);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    connection.write_all(format!("{text}\r\n").as_bytes()).await?;
    while let Some(Ok(piece)) = body.next().await {
        connection.write_all(&piece).await?;
    }
    connection.shutdown().await
}

/// The first line, and the headers.
pub(crate) async fn read_head(
    stream: &mut BufReader<TcpStream>,
) -> std::io::Result<(String, Vec<(String, String)>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.into(), value.trim().into())).collect();
    Ok((lines.swap_remove(0), headers))
}
