import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t, { type Test } from 'tap'
import { root } from '../process.ts'
import { gated, startUpstream, type Upstream } from '../upstream.ts'
import { makeBaseImages } from './base-images.ts'
import { Buildah } from './buildah.ts'
import { type Container, type ContainerOptions, runContainer, type Unpacked } from './container.ts'
import { type Entry, entriesOf, isElf } from './files.ts'

interface Lock {
  packages: Record<string, { dev?: boolean }>
}

const { packages }: Lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))

const skip = process.getuid?.() === 0 ? false : 'it takes root to build and run containers without a daemon'

// The packages are put in twice, from the registry, on a disk that other tests use.
t.setTimeout(900_000)

t.test('the image', { skip }, async (t) => {
  const buildah = new Buildah(t)
  const { base, buildBase } = await makeBaseImages(buildah)
  const baseFiles = await buildah.files(base)
  const tag = 'localhost/signalbox'
  const settings = {
    BASE: base,
    BUILD_BASE: buildBase,
    VERSION: '1.2.3',
    REVISION: 'abc',
    CREATED: '2026-01-02T03:04:05Z',
  }
  await buildah.run(
    'build',
    '--pull-never',
    ...Object.entries(settings).flatMap((entry) => ['--build-arg', entry.join('=')]),
    // What was downloaded once need not be again.
    ...['--volume', `${execFileSync('npm', ['config', 'get', 'cache'], { encoding: 'utf8' }).trim()}:/root/.npm`],
    ...['--tag', tag],
    root,
  )
  const image: Unpacked = {
    config: await buildah.config(tag),
    files: await buildah.files(tag),
    directory: buildah.directory,
  }

  t.test('says how it is run', async (t) => {
    const { config } = image
    t.equal(config.User, '65532:65532', 'by number, as runAsNonRoot wants it')
    t.same(config.Entrypoint, ['node', '/app/dist/src/main.js'], 'with no shell between')
    t.notOk(config.Cmd, 'arguments are flags of signalbox')
    t.equal(config.WorkingDir, '/app')
    t.same(config.ExposedPorts, { '4000/tcp': {} })
    t.match(config.Env.join('\n'), /^PATH=\/nodejs\/bin:.*^NODE_ENV=production\nHOST=0\.0\.0\.0/ms)
  })

  t.test('says what it is', async (t) => {
    t.match(image.config.Labels, {
      'org.opencontainers.image.title': 'Signalbox',
      'org.opencontainers.image.licenses': 'MIT',
      'org.opencontainers.image.source': 'https://github.com/signalbox/signalbox',
      'org.opencontainers.image.version': '1.2.3',
      'org.opencontainers.image.revision': 'abc',
      'org.opencontainers.image.created': '2026-01-02T03:04:05Z',
      'org.opencontainers.image.base.name': base,
    })
  })

  t.test('holds what a gateway needs and no more', async (t) => {
    const entries = entriesOf(image.files)
    const inApp = entries.filter(({ path }) => path.startsWith('app/'))
    const files = inApp.filter(({ isFile }) => isFile)

    t.test('its base, and /app', async (t) => {
      const others = entries.filter(({ path }) => !/^app(\/|$)/.test(path))
      const ofBase = entriesOf(baseFiles)
      t.ok(ofBase.some(({ path }) => path === 'nodejs/bin/node'))
      t.same(others, ofBase)
      t.same(
        inApp.map(({ path }) => path.slice('app/'.length)).filter((path) => !path.includes('/')),
        ['LICENSE', 'dist', 'node_modules', 'package.json'],
      )
    })

    t.test('the compiled gateway', async (t) => {
      const compiled = files.filter(({ path }) => path.startsWith('app/dist/')).map(({ path }) => path)
      t.ok(compiled.includes('app/dist/src/main.js'))
      t.same(
        compiled.filter((path) => !/^app\/dist\/(src|plugins)\/.*\.js$/.test(path)),
        [],
      )
    })

    t.test('the packages that are for production, as they are locked', async (t) => {
      const locked = Object.keys(packages).filter((path) => path !== '' && !packages[path]?.dev)
      t.ok(locked.includes('node_modules/fastify'))
      t.notOk(locked.includes('node_modules/tap'))
      const installed = files.flatMap(
        ({ path }) => /^app\/(.*node_modules\/(?:@[^/]+\/)?[^/@]+)\/package\.json$/.exec(path)?.[1] ?? [],
      )
      t.same(installed.sort(), locked.sort())
    })

    t.test('no shell, no package manager, no program but Node', async (t) => {
      t.same(
        entries.filter(({ path }) => /(^|\/)(sh|[bd]?ash|busybox|env|npm|npx|apt|apk)$/.test(path)),
        [],
      )
      t.same(
        files.filter(({ path }) => isElf(join(image.files, path))),
        [],
        'the packages are JavaScript',
      )
    })

    t.test('nothing that its user could change', async (t) => {
      const isWritable = ({ uid, mode }: Entry): boolean => uid !== 0 || (mode & 0o022) !== 0
      t.same(inApp.filter(isWritable), [])
    })

    t.test('in less than 50 MB', async (t) => {
      const megabytes = Math.round(files.reduce((sum, { size }) => sum + size, 0) / 1e6)
      t.ok(megabytes < 50, `/app has ${megabytes} MB in ${files.length} files`)
    })
  })

  t.test('in a container', async (t) => {
    const upstream = await startUpstream()
    t.teardown(() => upstream.close())
    const start = (t: Test, options?: ContainerOptions): Container => runContainer(t, image, options)

    t.test('is process 1 of user 65532, who may do nothing and write nowhere', async (t) => {
      const { process: container } = start(t, { command: ['node', '--input-type=module', '-e', aboutItself] })
      const { code, stdout, stderr } = await container.exited
      t.equal(code, 0, stderr)
      t.match(JSON.parse(stdout), {
        pid: 1,
        uid: 65532,
        gid: 65532,
        groups: [65532],
        written: { '/app': 'EROFS', '/app/dist/src/main.js': 'EROFS', '/tmp': 'EROFS', '/etc': 'EROFS' },
        capabilities: '0000000000000000',
      })
    })

    t.test('has every package in working order', async (t) => {
      const { process: container } = start(t, { command: ['node', '--input-type=module', '-e', importAll] })
      const { code, stdout, stderr } = await container.exited
      t.equal(code, 0, stderr)
      t.match(JSON.parse(stdout), ['@ai-sdk/anthropic', /./])
    })

    t.test('checks a configuration', async (t) => {
      const checked = async (yaml: string) => {
        const settings = configured(t, { 'signalbox.yaml': yaml })
        return start(t, { ...settings, args: ['--check-config'] }).process.exited
      }
      t.match(await checked('server: { port: 4000 }'), { code: 0, stdout: '/etc/signalbox/signalbox.yaml is valid\n' })
      t.match(await checked('server: { prot: 4000 }'), { code: 1, stderr: /server\.prot.*port/s })
    })

    t.test('answers', async (t) => {
      const { client, url, container } = await serving(t, start, upstream)
      t.same(await (await fetch(`${url}/health`)).json(), { status: 'ok' })
      t.same(await (await fetch(`${url}/ready`)).json(), { status: 'ready' })
      const messages = [{ role: 'user' as const, content: 'Hello there' }]
      const { choices } = await client.chat.completions.create({ model: 'up/m', messages })
      t.ok(choices[0]?.message.content)
      let text = ''
      for await (const chunk of await client.chat.completions.create({ model: 'up/m', messages, stream: true }))
        text += chunk.choices[0]?.delta.content ?? ''
      t.ok(text.length > 0, `a provider's stream arrives: ${text}`)
      t.equal(upstream.last().path, '/v1/chat/completions')
      container.kill('SIGINT')
      t.match(await container.process.exited, { code: 0, stderr: '' })
    })

    t.test('runs an extension that is mounted, and imports the gateway', async (t) => {
      const { client } = await serving(t, start, upstream, {
        yaml: `
          extensions: /etc/signalbox/extensions/clock.ts
          agents: { helper: { model: demo/echo, tools: [clock] } }
        `,
        extensions: {
          'clock.ts': `
            import { defineTool, type Extension } from 'signalbox'
            import Type from 'typebox'
            export const tools: Extension['tools'] = [
              defineTool({ name: 'clock', parameters: Type.Object({ zone: Type.String() }), execute: () => 'noon' }),
            ]`,
        },
      })
      const messages = [{ role: 'user' as const, content: 'clock' }]
      const { choices } = await client.chat.completions.create({ model: 'helper', messages })
      t.match(choices[0]?.message.content, /The tool answered: noon/)
    })

    t.test('ends well on SIGTERM, after its open streams', async (t) => {
      const { client, url, container } = await serving(t, start, upstream)
      const gate = gated(['one ', 'two ', 'three'])
      upstream.next(gate.behaviour)
      gate.release(2)
      const messages = [{ role: 'user' as const, content: 'Count' }]
      const stream = await client.chat.completions.create({ model: 'up/m', messages, stream: true })
      let text = ''
      let asked = false
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? ''
        if (text !== 'one ' || asked) continue
        asked = true
        container.kill('SIGTERM')
        await container.process.says(/Shutting down/)
        // From then on, if not in the same instant, it takes no one else.
        while (await isThere(url)) await sleep(20)
        gate.release(100)
      }
      t.equal(text, 'one two three', 'the open stream ended as it would have')
      const { code, stdout, stderr } = await container.process.exited
      t.equal(code, 0, stderr)
      t.match(stdout, /Signalbox has stopped/)
    })
  })
})

const aboutItself = `
  import { readFileSync, writeFileSync } from 'node:fs'
  const fault = (file) => { try { writeFileSync(file, '') } catch ({ code }) { return code } }
  const places = { '/app': '/app/x', '/app/dist/src/main.js': '/app/dist/src/main.js', '/tmp': '/tmp/x', '/etc': '/etc/x' }
  const written = Object.fromEntries(Object.entries(places).map(([place, file]) => [place, fault(file)]))
  const [, capabilities] = /CapBnd:\\s*(\\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))
  const [pid, uid, gid, groups] = [process.pid, process.getuid(), process.getgid(), process.getgroups()]
  process.stdout.write(JSON.stringify({ pid, uid, gid, groups, written, capabilities }))
`

const importAll = `
  import { readFileSync } from 'node:fs'
  const names = Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies)
  await Promise.all(names.map((name) => import(name)))
  process.stdout.write(JSON.stringify(names))
`

const isThere = (url: string): Promise<boolean> =>
  fetch(`${url}/health`).then(
    () => true,
    () => false,
  )

/** As the chart mounts a ConfigMap, and says where it is. */
function configured(t: Test, files: Record<string, string | Record<string, string>>): ContainerOptions {
  return { env: { SIGNALBOX_CONFIG: '/etc/signalbox/signalbox.yaml' }, mounts: { '/etc/signalbox': t.testdir(files) } }
}

interface Extended {
  yaml?: string
  extensions?: Record<string, string>
}

/** A gateway in a container, on a free port, whose models are the upstream's, as `up/*`, unless the configuration has others. */
async function serving(
  t: Test,
  start: (t: Test, options: ContainerOptions) => Container,
  upstream: Upstream,
  { yaml = `providers: { up: { baseURL: '${upstream.baseURL}' } }`, extensions = {} }: Extended = {},
) {
  upstream.reset()
  const config = `
          server: { port: 0, drainDelay: 0ms }
          ${yaml}`
  const container = start(t, configured(t, { 'signalbox.yaml': config, extensions }))
  const [, port] = await container.process.says(/running at http:\/\/127\.0\.0\.1:(\d+)/)
  const url = `http://127.0.0.1:${port}`
  return { container, url, client: new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }) }
}
