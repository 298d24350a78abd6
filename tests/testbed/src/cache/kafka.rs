//! Kafka's jars: broker, clients and command line tools.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::tool::{JAVA, MAVEN};

pub(super) const VERSION: &str = "4.3.1";

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>topicops</groupId>
  <artifactId>testbed</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

pub(super) fn build(folder: &Path) -> Result<()> {
    JAVA.must_exist("-version")?;
    let scratch = tempfile::tempdir()?;
    fs::write(scratch.path().join("pom.xml"), POM)?;
    let libs = folder.join("libs");
    let output = format!("-DoutputDirectory={}", libs.display());
    let args = ["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", &output];
    MAVEN.run(scratch.path(), args, &[])?;
    let broker = libs.join(format!("kafka_2.13-{VERSION}.jar"));
    ensure!(broker.is_file(), "Maven finished without bringing {}", broker.display());
    fs::read_dir(&libs).map(drop).context("reading Kafka's jars")
}
